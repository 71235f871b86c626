import type { Identity, PeerId } from '../src/core/identity.ts';
import type { Instant } from '../src/core/machine.ts';
import type { Front } from '../src/net/front.ts';
import { CircuitServer } from './circuit-server.ts';

/** Puts a relay onto the port of a rendezvous, under the deployment's own key. */
export function attachRelay(
  front: Front,
  { deployment, now }: { readonly deployment: Identity; readonly now: () => Instant },
): { readonly id: PeerId; close(): void } {
  const { id } = deployment;
  const server = new CircuitServer(front, { relay: id, rendezvous: () => id, now });
  return { id, close: () => server.close() };
}
