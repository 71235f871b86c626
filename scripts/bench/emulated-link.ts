import { Namespaces } from '../../test/netns/namespaces.ts';
import { Wire } from '../../test/netns/wire.ts';
import type { Place, Role } from './contender.ts';

/** The same in both directions. */
export interface LinkProperties {
  /** Round trip. */
  readonly rttMs: number;
  /** Of the packets in each direction, at random. */
  readonly lossPercent: number;
  readonly rateMbit: number;
}

/**
 * Two hosts in network namespaces and one link between them: `near`, where who dials is, and `far`, where who listens
 * and whatever stands between the two are. So a relay's one leg has the whole link, which asks more of its windows
 * than half of it would. Kernels without netem have no delay: a user-space wire carries the packets (test/netns/wire.c),
 * one by one, with a drop-tail queue of one bandwidth-delay product.
 */
export class EmulatedLink {
  readonly #namespaces: Namespaces;
  readonly #wire: Wire;

  private constructor(namespaces: Namespaces, wire: Wire) {
    this.#namespaces = namespaces;
    this.#wire = wire;
  }

  /** Throws `UNSUPPORTED` where namespaces can't be made, by root or by anybody. */
  static open(properties: LinkProperties): Promise<EmulatedLink> {
    return Namespaces.build(['near', 'wire', 'far'], async (namespaces) => {
      await joinHosts(namespaces);
      return new EmulatedLink(namespaces, await startWire(namespaces, properties));
    });
  }

  readonly place: Place = (role: Role) => {
    const side = role === 'dial' ? 'near' : 'far';
    return { enter: this.#namespaces.enter(side), address: ADDRESSES[side] };
  };

  async close(): Promise<void> {
    await this.#namespaces.close();
    await this.#wire.close();
  }
}

async function joinHosts(namespaces: Namespaces): Promise<void> {
  const end = (name: string, side: string) => `name ${name} netns ${namespaces.pid(side)}`;
  await namespaces.run(
    'wire',
    `ip link add ${end('inner', 'wire')} type veth peer ${end('link', 'near')}
     ip link add ${end('outer', 'wire')} type veth peer ${end('link', 'far')}
     ip link set inner up
     ip link set outer up`,
  );
  for (const side of ['near', 'far'] as const)
    await namespaces.run(
      side,
      `ip link set lo up
       ip address add ${ADDRESSES[side]}/24 dev link
       ip link set dev link gso_max_segs 1 up
       echo '4096 131072 ${TCP_BUFFER_BYTES}' > /proc/sys/net/ipv4/tcp_rmem
       echo '4096 65536 ${TCP_BUFFER_BYTES}' > /proc/sys/net/ipv4/tcp_wmem`,
    );
}

function startWire(namespaces: Namespaces, { rttMs, lossPercent, rateMbit }: LinkProperties): Promise<Wire> {
  const queueKib = Math.max(LEAST_QUEUE_KIB, (rateMbit * 1e6 * rttMs) / 1000 / 8 / 1024);
  return Wire.start(namespaces, 'wire', { delayMs: rttMs / 2, lossPercent, rateMbit, queueKib });
}

const ADDRESSES = { near: '10.77.0.1', far: '10.77.0.2' } as const;
const LEAST_QUEUE_KIB = 64;
/** What the kernel may grow a connection's buffers to, so that they are not what holds TCP back. */
const TCP_BUFFER_BYTES = 64 * 1024 * 1024;
