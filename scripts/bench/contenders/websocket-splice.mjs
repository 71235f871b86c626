// One process joins two WebSockets by `pipe`, and does nothing else; through it bare bytes, or TLS from end to end.
import { once } from 'node:events';
import { createWebSocketStream, WebSocket, WebSocketServer } from 'ws';
import { endsOf, joining } from './splice.mjs';

const options = { perMessageDeflate: false };

export async function middle() {
  const server = new WebSocketServer({ ...options, host: '127.0.0.1', port: 0 });
  const join = joining();
  server.on('connection', (socket) => join(createWebSocketStream(socket)));
  await once(server, 'listening');
  return server.address().port;
}

export const { listen, dial } = endsOf(leg);

async function leg(port) {
  const socket = new WebSocket(`ws://127.0.0.1:${port}`, options);
  const stream = createWebSocketStream(socket);
  await once(socket, 'open');
  return stream;
}
