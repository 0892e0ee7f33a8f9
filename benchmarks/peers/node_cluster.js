// Tell and ask a worker over Node's cluster IPC: JSON over a socket pair.
// The same payloads and counts as ours/_workload.py. A class instance arrives as a plain object here.
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

function serve() {
  let seen = 0;
  process.on('message', (message) => {
    seen += 1;
    if (message.ask) process.send(seen);
  });
}

async function measure() {
  const worker = cluster.fork();
  await new Promise((resolve) => worker.once('online', resolve));
  const tell = (payload) => worker.send({ payload });
  const ask = (payload) => new Promise((resolve) => {
    worker.once('message', resolve);
    worker.send({ ask: 1, payload });
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
  worker.disconnect();
}

const seconds = (start) => Number(process.hrtime.bigint() - start) / 1e9;

const report = (metric, payload, value) => console.log(JSON.stringify({ metric, payload, value }));

if (cluster.isPrimary) {
  measure().catch((error) => {
    console.error(error);
    process.exit(1);
  });
} else {
  serve();
}
