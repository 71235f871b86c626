import { randomBytes } from 'node:crypto';
import type { Candidate } from '../src/core/punch/candidate.ts';
import { mappingIn } from '../src/core/punch/own-mapping.ts';
import type { StunService } from '../src/core/punch/sampler.ts';
import { bindingRequest } from '../src/core/stun/request.ts';
import { REQUEST_SCHEDULE } from '../src/core/stun/transaction.ts';
import type { Clock } from '../src/net/clock.ts';
import { deferred } from '../src/net/deferred.ts';
import { UdpSocket } from '../src/net/udx.ts';
import { WILDCARD } from '../src/net/wildcard.ts';

/** A UDP port over IPv4 that has sent nothing before, and where the rendezvous has seen it now. */
export interface FreshPort {
  readonly udp: UdpSocket;
  /** Attested. */
  readonly candidate: Candidate;
}

const PATIENCE_MS = 1_500;

/** A UDP port over IPv4; `undefined` where the system has none to give, as when this process may open no more files. */
export function openAnyPort(): UdpSocket | undefined {
  try {
    return UdpSocket.open({ host: WILDCARD[4], port: 0 });
  } catch {
    return undefined;
  }
}

/** `undefined` where no server tells the mapping, or no port is to be had. */
export async function openFreshPort(
  stun: StunService | undefined,
  clock: Clock,
): Promise<FreshPort | undefined> {
  const server = stun?.servers.udp;
  if (!stun || !server) return undefined;
  const udp = openAnyPort();
  if (!udp) return undefined;
  const transactionId = new Uint8Array(randomBytes(12));
  const request = bindingRequest(transactionId, stun.credentials);
  const { promise, resolve } = deferred<Candidate | undefined>();
  const read = (bytes: Uint8Array): void => {
    const mapping = mappingIn(bytes, transactionId, 'udp', stun.credentials);
    if (mapping) resolve(mapping);
  };
  udp.on('datagram', read);
  const timers = REQUEST_SCHEDULE.map((ms) => clock.setTimer(() => udp.send(request, server), ms));
  timers.push(clock.setTimer(() => resolve(undefined), PATIENCE_MS));
  const candidate = await promise;
  for (const cancel of timers) cancel();
  udp.off('datagram', read);
  if (candidate) return { udp, candidate };
  await udp.close();
  return undefined;
}
