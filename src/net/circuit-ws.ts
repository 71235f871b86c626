import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { SallyportError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import { refusalIn } from './circuit-h2.ts';
import { upgrade } from './websocket-client.ts';
import { MAX_CIRCUIT_MESSAGE_BYTES, WebSocketPipe } from './websocket-pipe.ts';

/**
 * One leg over a WebSocket on `connection`, which leads to the relay already.
 * @throws SallyportError `TICKET_INVALID`, `TICKET_EXPIRED`, `LIMIT`, `RELAY_UNREACHABLE`
 */
export function openWebSocketCircuit(connection: Socket, relayUrl: URL, opening: string): Promise<Duplex> {
  const url = new URL('/v1/circuit', relayUrl);
  return new Promise((resolve, reject) => {
    const socket = upgrade(connection, url, LIMITS.handshakeStepMs, {
      headers: { 'sallyport-ticket': opening },
      generateMask: zeroMask,
      maxPayload: MAX_CIRCUIT_MESSAGE_BYTES,
    });
    // Made before 'open', so that no message can come without somebody to take it.
    const pipe = new WebSocketPipe(socket);
    socket.once('unexpected-response', (request, response) => {
      reject(refusalIn(response.headers, response.statusCode));
      request.destroy();
      pipe.destroy();
    });
    socket.once('error', (cause) => {
      reject(new SallyportError('RELAY_UNREACHABLE', `no WebSocket at ${url.host}`, { cause }));
    });
    socket.once('open', () => resolve(pipe));
  });
}

/**
 * A mask has to be unforeseeable where a page's script chooses the bytes (RFC 6455 §10.3). All that passes here is the
 * peers' TLS, whose bytes nobody chooses, so it is spared the work, at both ends of the connection.
 */
function zeroMask(mask: Buffer): void {
  mask.fill(0);
}
