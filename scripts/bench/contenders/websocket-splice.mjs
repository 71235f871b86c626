// One process joins two WebSockets by `pipe`, and does nothing else; through it bare bytes, or TLS from end to end.
import { once } from 'node:events';
import { createWebSocketStream, WebSocket, WebSocketServer } from 'ws';
import { wireOf } from '../wire.mjs';
import { accepted, dialled } from './over-tls.mjs';

const options = { perMessageDeflate: false };

export async function middle() {
  const server = new WebSocketServer({ ...options, host: '127.0.0.1', port: 0 });
  let waiting;
  server.on('connection', (socket) => {
    const stream = createWebSocketStream(socket);
    stream.on('error', () => {});
    if (waiting === undefined) waiting = stream;
    else {
      waiting.pipe(stream).pipe(waiting);
      waiting = undefined;
    }
  });
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
  const socket = new WebSocket(`ws://127.0.0.1:${port}`, options);
  const stream = createWebSocketStream(socket);
  await once(socket, 'open');
  return stream;
}
