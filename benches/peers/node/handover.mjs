// Sockets handed from one Node.js process to another: `node benches/peers/node/handover.mjs [rounds]`.
//
// 64 sockets are under way at a time, as in the scenario `handover` of the library's bench. A group
// ends when the child has said that it got each of them. Prints the time of one socket in
// microseconds, and sockets per second.

import { fork } from 'node:child_process';
import { createConnection, createServer } from 'node:net';
import { fileURLToPath } from 'node:url';

const GROUP = 64;

if (process.argv[2] === 'child') {
  process.on('message', (message, socket) => {
    if (!socket) throw new Error('a message without its socket');
    socket.destroy();
    process.send(message);
  });
} else {
  const groups = Number(process.argv[2] ?? 50);
  const child = fork(fileURLToPath(import.meta.url), ['child']);
  const accepted = [];
  const server = createServer({ pauseOnConnect: true }, (socket) => accepted.push(socket));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));

  const clients = async () => {
    const all = Array.from({ length: GROUP }, () => createConnection(server.address().port));
    all.forEach((client) => client.on('error', () => {}));
    while (accepted.length < GROUP) await new Promise((resolve) => setTimeout(resolve, 1));
    return all;
  };
  const group = (sockets) => new Promise((resolve) => {
    let left = GROUP;
    const listener = () => {
      if (--left === 0) {
        child.off('message', listener);
        resolve();
      }
    };
    child.on('message', listener);
    sockets.forEach((socket, number) => child.send(number, socket));
  });

  let micros = 0;
  for (let round = -2; round < groups; round++) {
    const own = await clients();
    const started = process.hrtime.bigint();
    await group(accepted.splice(0));
    if (round >= 0) micros += Number(process.hrtime.bigint() - started) / 1e3;
    own.forEach((client) => client.destroy());
  }
  const each = micros / (groups * GROUP);
  console.log(`${each.toFixed(1)} µs a socket, ${Math.round(1e6 / each)} sockets per second`);
  child.disconnect();
  server.close();
}
