import type { Endpoint } from '../src/core/endpoint.ts';
import { LIMITS } from '../src/core/limits.ts';
import type { MessageTo, ToRendezvous } from '../src/core/protocol/rendezvous.ts';

type Relay = MessageTo<ToRendezvous, 'hello'>['relay'];

/**
 * What a relay says of itself, with the STUN servers at the address that it registers from and no others: nobody shall
 * aim peers' requests at a third party. `''` is filled in.
 */
export function withOwnStun(relay: Relay, { address: from }: Endpoint): Relay {
  const own = (named: readonly Endpoint[]) =>
    named
      .filter(({ address }) => address === '' || address === from)
      .slice(0, LIMITS.stunServersPerRelay)
      .map(({ port }) => ({ address: from, port }));
  return relay && { ...relay, stunUdp: own(relay.stunUdp), stunTcp: own(relay.stunTcp) };
}
