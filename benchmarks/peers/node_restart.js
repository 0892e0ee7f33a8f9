// Kill a cluster worker, fork another in 'exit', and wait until it is listening.
'use strict';
const cluster = require('node:cluster');
const net = require('node:net');

const KILLS = 5;
const HEALTHY = 300;

function measure() {
  const took = [];
  let killed;
  cluster.on('exit', () => cluster.fork());
  cluster.on('listening', (worker) => {
    if (killed) took.push(Number(process.hrtime.bigint() - killed) / 1e6);
    if (took.length === KILLS) {
      const value = took.sort((a, b) => a - b)[Math.floor(KILLS / 2)];
      console.log(JSON.stringify({ metric: 'kill to serving ms', payload: 'process node', value }));
      process.exit(0);
    }
    setTimeout(() => {
      killed = process.hrtime.bigint();
      process.kill(worker.process.pid, 'SIGKILL');
    }, HEALTHY);
  });
  cluster.fork();
}

if (cluster.isPrimary) measure();
else net.createServer().listen(0, '127.0.0.1');
