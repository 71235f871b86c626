import { ADDRCONFIG, type LookupAddress } from 'node:dns';
import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { isAddress } from '../core/address.ts';

/** From one address to the next, where the one before has not failed by then (RFC 8305 §8). */
const STAGGER_MS = 250;

/**
 * Connects to the first of a host's addresses that answers, each tried beside those before it (RFC 8305 §5). Node's own
 * way drops each but the last after 250 ms: where one family alone leads anywhere, and a round trip takes longer than
 * that, it gets nowhere.
 * @param signal aborting it gives up
 */
export async function connectHost(host: string, port: number, signal: AbortSignal): Promise<Socket> {
  const addresses = isAddress(host) ? [host] : byTurns(await Promise.race([find(host), abortOf(signal)]));
  const over = new AbortController();
  const wanted = AbortSignal.any([signal, over.signal]);
  let turn: Promise<unknown> = Promise.resolve();
  const dials = addresses.map((address) => {
    const begun = turn;
    const dialed = begun.then(() => dial(address, port, wanted));
    const patience = begun.then(() => sleep(STAGGER_MS, undefined, { ref: false }));
    turn = Promise.race([dialed.catch(() => undefined), patience]);
    return dialed;
  });
  try {
    return await Promise.any(dials);
  } catch (thrown) {
    // The system names first what it takes for usable: why that failed tells most.
    throw signal.aborted ? signal.reason : (thrown as AggregateError).errors[0];
  } finally {
    over.abort();
  }
}

function find(host: string): Promise<LookupAddress[]> {
  return lookup(host, { all: true, hints: ADDRCONFIG });
}

async function dial(host: string, port: number, signal: AbortSignal): Promise<Socket> {
  const socket = connect({ host, port });
  try {
    await once(socket, 'connect', { signal });
    return socket;
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

/** The families take turns, that of the first address first (RFC 8305 §4). */
function byTurns(found: readonly LookupAddress[]): string[] {
  const [first, other] = [true, false].map((isFirst) =>
    found.filter(({ family }) => (family === found[0]?.family) === isFirst),
  ) as [LookupAddress[], LookupAddress[]];
  const longer = Math.max(first.length, other.length);
  const turns = Array.from({ length: longer }, (_, i) => [first[i], other[i]]).flat();
  return turns.flatMap((each) => each?.address ?? []);
}

function abortOf(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
}
