// Connects N clients of socket.io-client, polling first and then upgraded, and prints what they saw as JSON.
const { io } = require("socket.io-client");

const [url, count] = [process.argv[2], Number(process.argv[3])];
const heard = Array.from({ length: count }, () => []);
const errors = [];

function client(number) {
  return new Promise((resolve) => {
    const socket = io(url, { forceNew: true, reconnection: false });
    socket.on("connect_error", (error) => { errors.push(String(error)); resolve(socket); });
    socket.on("said", (text) => heard[number].push(text));
    socket.on("connect", () => {
      const engine = socket.io.engine;
      if (engine.transport.name === "websocket") resolve(socket);
      else engine.once("upgrade", () => resolve(socket));
    });
  });
}

const ask = (socket, ...args) => new Promise((resolve) => socket.emit(...args, resolve));
const until = (test) => new Promise((resolve) => {
  const look = () => (test() ? resolve() : setTimeout(look, 5));
  look();
});

async function main() {
  const sockets = await Promise.all(Array.from({ length: count }, (_, number) => client(number)));
  const seen = { errors, nodes: [], transports: [], kept: 0 };
  for (const [number, socket] of sockets.entries()) {
    if (!socket.connected) continue;
    seen.nodes.push(await ask(socket, "whoami"));
    seen.transports.push(socket.io.engine.transport.name);
    await ask(socket, "remember", "one");
    const said = await ask(socket, "remember", "two");
    seen.kept += said.length === 2 ? 1 : 0;
    await ask(socket, "join", number % 2 ? "odd" : "even");
  }
  await ask(sockets[0], "say", "even", "to the even");
  await ask(sockets[1], "say", "odd", "to the odd");
  await until(() => heard.every((texts) => texts.length > 0));
  await ask(sockets[3], "leave", "odd");
  await ask(sockets[0], "say", "odd", "again");
  await until(() => heard.every((texts, number) => number % 2 === 0 || number === 3 || texts.length > 1));
  const gone = new Promise((resolve) => sockets[2].once("disconnect", resolve));
  await ask(sockets[0], "drop", sockets[2].id);
  seen.dropped = await gone;
  seen.heard = heard;
  sockets.forEach((socket) => socket.disconnect());
  console.log(JSON.stringify(seen));
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
