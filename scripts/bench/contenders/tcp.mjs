// Bare TCP, not encrypted.
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { wireOf } from '../wire.mjs';

export async function listen(_middle, _variant, onWire) {
  const server = createServer({ noDelay: true }, (socket) => onWire(wireOf(socket)));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server.address().port;
}

export async function dial(port) {
  return async () => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    await once(socket, 'connect');
    return wireOf(socket);
  };
}
