import { Namespaces } from '../../test/netns/namespaces.ts';
import type { Place, Role } from './contender.ts';

/**
 * Three hosts in network namespaces: who dials and who listens reach the one in the middle and not each other, so that
 * whatever can be relayed is. Their links are pairs of virtual interfaces, with no delay and no limit.
 */
export class Apart {
  readonly #namespaces: Namespaces;

  private constructor(namespaces: Namespaces) {
    this.#namespaces = namespaces;
  }

  /** Throws `UNSUPPORTED` where namespaces can't be made, by root or by anybody. */
  static open(): Promise<Apart> {
    return Namespaces.build(['dial', 'middle', 'listen'], async (namespaces) => {
      await join(namespaces);
      return new Apart(namespaces);
    });
  }

  readonly place: Place = (role: Role) => ({
    enter: this.#namespaces.enter(role),
    address: ADDRESSES[role],
  });

  close(): Promise<void> {
    return this.#namespaces.close();
  }
}

/** The middle has one address, by which both know it, and forwards nothing. */
async function join(namespaces: Namespaces): Promise<void> {
  await namespaces.run(
    'middle',
    `ip link set lo up
     ip address add ${ADDRESSES.middle}/32 dev lo
     echo 0 > /proc/sys/net/ipv4/ip_forward
     for side in dial:${namespaces.pid('dial')} listen:${namespaces.pid('listen')}; do
       ip link add name "\${side%:*}" type veth peer name uplink netns "\${side#*:}"
       ip link set "\${side%:*}" up
     done
     ip route add ${ADDRESSES.dial} dev dial src ${ADDRESSES.middle}
     ip route add ${ADDRESSES.listen} dev listen src ${ADDRESSES.middle}`,
  );
  for (const side of ['dial', 'listen'] as const) {
    await namespaces.run(
      side,
      `ip link set lo up
       ip address add ${ADDRESSES[side]}/32 dev uplink
       ip link set dev uplink up
       ip route add ${ADDRESSES.middle} dev uplink src ${ADDRESSES[side]}`,
    );
  }
}

const ADDRESSES: Readonly<Record<Role, string>> = {
  dial: '203.0.113.10',
  middle: '203.0.113.1',
  listen: '203.0.113.20',
};
