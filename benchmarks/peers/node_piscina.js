// piscina with two threads: tasks that do nothing, 500 under way. Prints a JSON object per line.
const path = require('node:path');
const { isMainThread } = require('node:worker_threads');
if (!isMainThread) {
  module.exports = (number) => number;
} else {
  const home = path.resolve(__dirname, '..', '..', '.peers', 'node_modules', 'piscina');
  const { Piscina } = require(home);
  const pool = new Piscina({ filename: path.resolve(__filename), minThreads: 2, maxThreads: 2 });
  const batch = () => Promise.all([...Array(500).keys()].map((number) => pool.run(number)));
  (async () => {
    await batch();
    const count = 20000;
    const began = process.hrtime.bigint();
    for (let done = 0; done < count; done += 500) await batch();
    const seconds = Number(process.hrtime.bigint() - began) / 1e9;
    console.log(JSON.stringify({ metric: 'tasks/s', payload: '500 under way', value: count / seconds }));
    process.exit();
  })();
}
