// Bare TCP, not encrypted.
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { HOST, wireOf } from '../wire.mjs';

export async function listen(_middle, _variant, onWire) {
  const server = createServer({ noDelay: true }, (socket) => onWire(wireOf(socket)));
  server.listen(0, HOST);
  await once(server, 'listening');
  return { host: HOST, port: server.address().port };
}

export async function dial(address) {
  return async () => {
    const socket = connect({ ...address, noDelay: true });
    await once(socket, 'connect');
    return wireOf(socket);
  };
}
