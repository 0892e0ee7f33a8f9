// One big payload to a worker thread and its length back: a structured clone, or a transfer.
// What ours calls bytes and array is a clone here, what it calls move a transfer.
'use strict';
const { Worker, isMainThread, parentPort } = require('node:worker_threads');

const MIB = 1024 * 1024;
const SIZES = { '1 KiB': 1024, '1 MiB': MIB, '100 MiB': 100 * MIB };
const WARM_UP = 5;
const ROUNDS = 15;

const median = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];

async function measure() {
  const worker = new Worker(__filename);
  await new Promise((resolve) => worker.once('online', resolve));
  const ask = (buffer, transfer) => new Promise((resolve) => {
    worker.once('message', resolve);
    worker.postMessage(buffer, transfer);
  });
  const milliseconds = async (make, transfer) => {
    const took = [];
    for (let i = 0; i < WARM_UP + ROUNDS; i++) {
      const buffer = make();
      const start = process.hrtime.bigint();
      await ask(buffer, transfer ? [buffer] : []);
      took.push(Number(process.hrtime.bigint() - start) / 1e6);
    }
    return median(took.slice(WARM_UP));
  };
  for (const [payload, size] of Object.entries(SIZES)) {
    const buffer = new ArrayBuffer(size);
    const clone = await milliseconds(() => buffer, false);
    const moved = await milliseconds(() => new ArrayBuffer(size), true);
    for (const [metric, value] of [['bytes ms', clone], ['array ms', clone], ['move ms', moved]]) {
      console.log(JSON.stringify({ metric, payload, value }));
    }
  }
  worker.terminate();
}

if (isMainThread) measure();
else parentPort.on('message', (buffer) => parentPort.postMessage(buffer.byteLength));
