import { randomBytes } from 'node:crypto';
import type { Candidate } from '../src/core/punch/candidate.ts';
import { mappingIn } from '../src/core/punch/own-mapping.ts';
import type { StunService } from '../src/core/punch/sampler.ts';
import { bindingRequest } from '../src/core/stun/request.ts';
import { openStunOverTcp } from '../src/net/stun-sample.ts';

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
  const request = bindingRequest(transactionId, stun.credentials);
  const options = { server, request, signal: ended, timeoutMs: PATIENCE_MS };
  const answer = await openStunOverTcp(options).catch(() => undefined);
  if (!answer) return undefined;
  const { message, localPort: port, close } = answer;
  const candidate = mappingIn(message, transactionId, 'tcp', stun.credentials);
  if (candidate) return { port, candidate, close };
  close();
  return undefined;
}
