// One process joins two TCP connections by `pipe`, and does nothing else; through it bare bytes, or TLS from end to end.
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { endsOf, joining } from './splice.mjs';

export async function middle() {
  const server = createServer({ noDelay: true }, joining());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server.address().port;
}

export const { listen, dial } = endsOf(leg);

async function leg(port) {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  await once(socket, 'connect');
  return socket;
}
