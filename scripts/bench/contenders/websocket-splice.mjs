// Cleartext bytes through one process that passes the messages of two WebSockets on, and does nothing else.
import { once } from 'node:events';
import { createWebSocketStream, WebSocket, WebSocketServer } from 'ws';
import { wireOf } from '../wire.mjs';

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

export async function listen(port, _variant, onWire) {
  onWire(wireOf(await leg(port)));
}

export async function dial(_address, port) {
  return async () => wireOf(await leg(port));
}

async function leg(port) {
  const socket = new WebSocket(`ws://127.0.0.1:${port}`, options);
  const stream = createWebSocketStream(socket);
  await once(socket, 'open');
  return stream;
}
