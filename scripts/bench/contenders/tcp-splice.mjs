// One process joins two TCP connections by `pipe`, and does nothing else; through it bare bytes, or TLS from end to end.
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { wireOf } from '../wire.mjs';
import { accepted, dialled } from './over-tls.mjs';

export async function middle() {
  let waiting;
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => {});
    if (waiting === undefined) waiting = socket;
    else {
      waiting.pipe(socket).pipe(waiting);
      waiting = undefined;
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server.address().port;
}

export async function listen(port, variant, onWire) {
  onWire(wireOf(accepted(await leg(port), variant)));
}

export async function dial(_address, port, variant) {
  return async () => wireOf(await dialled(await leg(port), variant));
}

async function leg(port) {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  await once(socket, 'connect');
  return socket;
}
