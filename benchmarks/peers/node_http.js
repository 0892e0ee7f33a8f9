// An HTTP server that says "ok", with as many cluster workers as asked for.
'use strict';
const cluster = require('node:cluster');
const http = require('node:http');

const [port, workers] = process.argv.slice(2).map(Number);

if (cluster.isPrimary) {
  for (let i = 0; i < workers; i++) cluster.fork();
} else {
  http.createServer((_, response) => response.end('ok')).listen(port, '127.0.0.1');
}
