// Tell and ask a worker: `cluster` over Node's cluster IPC, JSON over a socket pair; `worker` over the port
// of a worker thread, structured clones. The same payloads and counts as ours/_workload.py. A class
// instance arrives as a plain object here.
'use strict';
const cluster = require('node:cluster');

const TELLS = 100_000;
const ASKS = 10_000;
const WARM_UP = 1_000;

class Order {
  constructor(number, customer, price, paid) {
    Object.assign(this, { number, customer, price, paid });
  }
}

const PAYLOADS = {
  int: 1,
  dict: {
    id: 12345,
    name: 'Ada Lovelace',
    email: 'ada@example.org',
    active: true,
    score: 98.5,
    tags: ['a', 'b', 'c'],
    parent: null,
    created: '2024-05-06T07:08:09Z',
    count: 42,
  },
  object: new Order(12345, 'Ada Lovelace', 98.5, true),
};

const { Worker, isMainThread, parentPort } = require('node:worker_threads');

function serve(port, send) {
  let seen = 0;
  port.on('message', (message) => {
    seen += 1;
    if (message.ask) send(seen);
  });
}

async function start(kind) {
  if (kind === 'worker') {
    const worker = new Worker(__filename);
    await new Promise((resolve) => worker.once('online', resolve));
    return { port: worker, send: (message) => worker.postMessage(message), end: () => worker.terminate() };
  }
  const worker = cluster.fork();
  await new Promise((resolve) => worker.once('online', resolve));
  return { port: worker, send: (message) => worker.send(message), end: () => worker.disconnect() };
}

async function measure(kind) {
  const { port, send, end } = await start(kind);
  const tell = (payload) => send({ payload });
  const ask = (payload) => new Promise((resolve) => {
    port.once('message', resolve);
    send({ ask: 1, payload });
  });

  for (const [name, payload] of Object.entries(PAYLOADS)) {
    for (let i = 0; i < WARM_UP; i++) await ask(payload);

    const before = await ask(payload);
    let start = process.hrtime.bigint();
    for (let i = 0; i < TELLS; i++) tell(payload);
    const after = await ask(payload);
    report('tell/s', name, TELLS / seconds(start));
    if (after - before !== TELLS + 1) throw new Error(`${TELLS + 1} sent, ${after - before} handled`);

    start = process.hrtime.bigint();
    for (let i = 0; i < ASKS; i++) await ask(payload);
    report('ask us', name, (1e6 * seconds(start)) / ASKS);
  }
  end();
}

const seconds = (start) => Number(process.hrtime.bigint() - start) / 1e9;

const report = (metric, payload, value) => console.log(JSON.stringify({ metric, payload, value }));

if (!isMainThread) {
  serve(parentPort, (value) => parentPort.postMessage(value));
} else if (!cluster.isPrimary) {
  serve(process, (value) => process.send(value));
} else {
  measure(process.argv[2]).catch((error) => {
    console.error(error);
    process.exit(1);
  });
}
