import type { Socket } from 'node:net';
import type { Endpoint } from '../core/endpoint.ts';
import { StunFramer } from '../core/stun/framing.ts';
import { resetConnection } from './reset.ts';
import { dialTcp } from './tcp.ts';

export interface StunSampleOptions {
  readonly server: Endpoint;
  readonly request: Uint8Array;
  readonly signal: AbortSignal;
}

/** What a server has said over a connection that is still open, and so keeps its mapping. */
export interface StunAnswer {
  readonly message: Uint8Array;
  readonly localPort: number;
  /** Ends the connection; others from its port stay. */
  readonly close: () => void;
}

/** A server that has not answered by then would tell of a port that is no longer the last. */
const TIMEOUT_MS = 2_000;

/**
 * Asks a STUN server over a TCP connection of its own, from a fresh port: the answer tells the mapping that a NAT has
 * just made. `undefined` where the server ended the connection without one. Fails as `openStunOverTcp` does.
 */
export async function askStunOverTcp(options: StunSampleOptions): Promise<Uint8Array | undefined> {
  const answer = await openStunOverTcp({ ...options, timeoutMs: TIMEOUT_MS });
  answer?.close();
  return answer?.message;
}

/**
 * The same, but the connection stays open; the signal and the time limit are for the answer alone. Fails as `dialTcp`
 * does, with `PROTOCOL_ERROR` where what comes isn't STUN, and with Node's own error where the connection breaks.
 */
export async function openStunOverTcp(
  options: StunSampleOptions & { readonly timeoutMs: number },
): Promise<StunAnswer | undefined> {
  const { server, request, signal, timeoutMs } = options;
  const limit = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
  const socket = await dialTcp({ remote: server, signal: limit });
  const close = (): void => resetConnection(socket);
  limit.addEventListener('abort', close);
  let answer: StunAnswer | undefined;
  try {
    const localPort = socket.localPort!; // it has just connected
    socket.write(request);
    const message = await firstMessage(socket);
    if (message) answer = { message, localPort, close };
    return answer;
  } finally {
    limit.removeEventListener('abort', close);
    if (!answer) close();
  }
}

async function firstMessage(socket: Socket): Promise<Uint8Array | undefined> {
  const framer = new StunFramer();
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    const [message] = framer.push(chunk as Uint8Array);
    if (message) return message;
  }
  return undefined;
}
