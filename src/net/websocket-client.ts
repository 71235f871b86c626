import type { Socket } from 'node:net';
import { WebSocket, type ClientOptions } from 'ws';

/** A WebSocket on `connection`, which leads to `url` already. That is closed where it isn't upgraded in time. */
export function upgrade(
  connection: Socket,
  url: URL,
  timeoutMs: number,
  options: ClientOptions & { maxPayload: number },
): WebSocket {
  const socket = new WebSocket(url.href.replace(/^http/, 'ws'), {
    createConnection: () => connection,
    perMessageDeflate: false,
    maxFragments: 16,
    maxBufferedChunks: 256,
    ...options,
  });
  // The option `handshakeTimeout` has no effect on a connection that was made already.
  const late = () => connection.destroy(new Error('no answer in time'));
  const timer = setTimeout(late, timeoutMs);
  const settled = () => clearTimeout(timer);
  connection.once('close', settled);
  socket.once('open', settled);
  return socket;
}
