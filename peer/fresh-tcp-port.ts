import { randomBytes } from 'node:crypto';
import type { Candidate } from '../src/core/punch/candidate.ts';
import { mappingIn } from '../src/core/punch/own-mapping.ts';
import type { StunService } from '../src/core/punch/sampler.ts';
import { StunFramer } from '../src/core/stun/framing.ts';
import { bindingRequest } from '../src/core/stun/request.ts';
import { dialTcp } from '../src/net/tcp.ts';
import { resetConnection } from '../src/net/reset.ts';

/** A TCP port over IPv4 that leads to nobody yet, and where the rendezvous has seen it now. */
export interface FreshTcpPort {
  readonly port: number;
  /** Attested. */
  readonly candidate: Candidate;
  /** Ends the connection that keeps the mapping; others from this port stay. */
  close(): void;
}

const PATIENCE_MS = 1_500;

/** `undefined` where no server tells the mapping. */
export async function openFreshTcpPort(
  stun: StunService | undefined,
  ended: AbortSignal,
): Promise<FreshTcpPort | undefined> {
  const server = stun?.servers.tcp;
  if (!stun || !server) return undefined;
  const transactionId = new Uint8Array(randomBytes(12));
  const signal = AbortSignal.any([ended, AbortSignal.timeout(PATIENCE_MS)]);
  const socket = await dialTcp({ remote: server, signal }).catch(() => undefined);
  const port = socket?.localPort;
  if (!socket || port === undefined) return undefined;
  const close = (): void => resetConnection(socket);
  signal.addEventListener('abort', close);
  socket.write(bindingRequest(transactionId, stun.credentials));
  const framer = new StunFramer();
  try {
    for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
      for (const message of framer.push(chunk as Uint8Array)) {
        const candidate = mappingIn(message, transactionId, 'tcp', stun.credentials);
        if (!candidate) continue;
        signal.removeEventListener('abort', close);
        return { port, candidate, close };
      }
    }
  } catch {
    // As where it says nothing.
  }
  close();
  return undefined;
}
