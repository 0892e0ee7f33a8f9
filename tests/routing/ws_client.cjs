// A client of the `ws` package talks to an echo; what it saw goes to standard output as JSON.
"use strict";

const { once } = require("node:events");
const WebSocket = require("ws");

const [, , echo, closes] = process.argv;

async function main() {
  const seen = {};
  const socket = new WebSocket(echo, { perMessageDeflate: { threshold: 0 } });
  await once(socket, "open");
  seen.extensions = socket.extensions;

  const answer = async () => {
    const [data, binary] = await once(socket, "message");
    return binary ? data : data.toString();
  };
  const exchange = async (data) => {
    socket.send(data);
    return answer();
  };

  seen.text = await exchange("grüße, 世界");
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
  seen.binary = bytes.equals(await exchange(bytes));
  const mebibyte = Buffer.alloc(1024 * 1024, "abc");
  seen.mebibyte = mebibyte.equals(await exchange(mebibyte));

  socket.send("in ", { fin: false });
  socket.ping("between");
  const pong = once(socket, "pong");
  socket.send("three ", { fin: false });
  socket.send("parts", { fin: true });
  seen.fragments = await answer();
  seen.pong = (await pong)[0].toString();

  const numbers = Array.from({ length: 500 }, (_, number) => String(number));
  const all = new Promise((resolve) => {
    const got = [];
    socket.on("message", (data) => {
      got.push(data.toString());
      if (got.length === numbers.length) resolve(got);
    });
  });
  numbers.forEach((number) => socket.send(number));
  seen.order = (await all).every((data, number) => data === numbers[number]);

  socket.close(4321, "enough");
  seen.closed = (await once(socket, "close"))[0];

  const cut = new WebSocket(`${closes}?code=4001`);
  const [code, reason] = await once(cut, "close");
  seen.cut = [code, reason.toString()];
  const refused = new WebSocket(`${closes}?code=0`);
  seen.refused = (await once(refused, "unexpected-response"))[1].statusCode;
  return seen;
}

main().then(
  (seen) => process.stdout.write(JSON.stringify(seen), () => process.exit(0)),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
