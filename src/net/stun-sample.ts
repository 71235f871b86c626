import type { Endpoint } from '../core/endpoint.ts';
import { StunFramer } from '../core/stun/framing.ts';
import { dialTcp } from './tcp.ts';
import { resetConnection } from './reset.ts';

export interface StunSampleOptions {
  readonly server: Endpoint;
  readonly request: Uint8Array;
  readonly signal: AbortSignal;
}

/** A server that has not answered by then would tell of a port that is no longer the last. */
const TIMEOUT_MS = 2_000;

/**
 * Asks a STUN server over a TCP connection of its own, from a fresh port: the answer tells the mapping that a NAT has
 * just made. `undefined` where the server ended the connection without one. Fails as `dialTcp` does.
 */
export async function askStunOverTcp(options: StunSampleOptions): Promise<Uint8Array | undefined> {
  const { server, request, signal } = options;
  const limit = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]);
  const socket = await dialTcp({ remote: server, signal: limit });
  const end = (): void => resetConnection(socket);
  limit.addEventListener('abort', end);
  try {
    socket.write(request);
    const framer = new StunFramer();
    for await (const chunk of socket) {
      const [message] = framer.push(chunk as Uint8Array);
      if (message) return message;
    }
    return undefined;
  } finally {
    limit.removeEventListener('abort', end);
    end();
  }
}
