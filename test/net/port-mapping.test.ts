import { EventEmitter } from 'node:events';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { SallyportError } from '../../src/core/errors.ts';
import type { MappingRequest } from '../../src/core/portmap/mapping.ts';
import type { DatagramPort } from '../../src/net/discover-udp.ts';
import { deferred } from '../../src/net/deferred.ts';
import { PortMapping } from '../../src/net/port-mapping.ts';
import { ManualClock } from '../peer/manual-clock.ts';

/** A router that maps whatever is asked for, and forgets it all where it is restarted. */
const router = vi.hoisted(() => ({
  isUp: true,
  gateway: '',
  refuses: undefined as 'udp' | 'tcp' | undefined,
  ports: new Set<number>(),
  answers: Promise.resolve(),
}));
const ADDRESS = '198.51.100.1';

vi.mock('../../src/net/portmap/find.ts', () => ({
  gatewayLink: async () => ({ gateway: router.gateway, host: '192.168.1.2' }),
  async *portMappers({ gateway }: { gateway: string }) {
    const check = () => {
      if (!router.isUp || gateway !== router.gateway)
        throw new SallyportError('TIMEOUT', 'the router does not answer');
    };
    yield {
      protocol: 'pcp',
      map: async ({ transport, externalPort: port, lifetimeSeconds }: MappingRequest) => {
        check();
        if (transport === router.refuses) throw new SallyportError('UNSUPPORTED', 'it has no port left');
        await router.answers;
        router.ports.add(port);
        return { external: { address: ADDRESS, port }, lifetimeSeconds };
      },
      unmap: async ({ externalPort }: MappingRequest) => {
        check();
        router.ports.delete(externalPort);
      },
    };
  },
}));

vi.mock('../../src/net/portmap/verify.ts', () => {
  const verify = async (_: unknown, { port }: { port: number }) =>
    router.isUp && router.ports.has(port)
      ? { endpoint: { address: ADDRESS, port }, attestation: { time: 0, signature: new Uint8Array(64) } }
      : undefined;
  return { verifyUdp: verify, verifyTcp: verify };
});

const server = { address: '203.0.113.9', port: 3478 };
let clock: ManualClock;
let mapping: PortMapping;
const verified = () => [mapping.isVerified('udp'), mapping.isVerified('tcp')];

beforeEach(async () => {
  router.isUp = true;
  router.gateway = '192.168.1.1';
  router.refuses = undefined;
  router.ports.clear();
  router.answers = Promise.resolve();
  clock = new ManualClock();
  mapping = new PortMapping({
    clock,
    datagrams: Object.assign(new EventEmitter(), {
      address: { address: '0.0.0.0', port: 7 },
      send: () => {},
    }) as DatagramPort,
    tcpPort: 7,
    accept: () => () => {},
    publicAddresses: () => [ADDRESS],
  });
  mapping.start({ username: 'alice', key: new Uint8Array(16), udp: [server], tcp: [server] });
  await clock.pass(1_000);
});
afterEach(() => mapping.close());

describe('a port that a router leads here', () => {
  it('is asked for again when the way out is back, where the router was restarted', async () => {
    router.isUp = false;
    router.ports.clear();
    await clock.pass(60_000);
    expect(mapping.isVerified('udp')).toBe(false);
    router.isUp = true;
    mapping.refresh();
    await clock.pass(1_000);
    expect(verified()).toEqual([true, true]);
  });

  it.each(['udp', 'tcp'] as const)(
    'is asked for again where only that for %s was lost',
    async (transport) => {
      router.refuses = transport;
      await clock.pass(2 * 3_600_000);
      expect(mapping.isVerified(transport)).toBe(false);
      expect(verified()).toContain(true);
      router.refuses = undefined;
      await clock.pass(700_000);
      expect(verified()).toEqual([true, true]);
    },
  );

  it('is given back also where the router is just being asked for it again', async () => {
    const { promise, resolve } = deferred<void>();
    router.answers = promise;
    mapping.refresh();
    await clock.pass(0);
    const closing = mapping.close();
    await clock.pass(0);
    resolve();
    await closing;
    await clock.pass(0);
    expect([...router.ports]).toEqual([]);
  });

  it('is asked for at another router where the way out leads by that one', async () => {
    router.gateway = '192.168.8.1';
    router.ports.clear();
    mapping.refresh();
    await clock.pass(5_000);
    expect(verified()).toEqual([true, true]);
  });

  it('stays the same where the router still has it', async () => {
    expect(verified()).toEqual([true, true]);
    const before = [...router.ports];
    mapping.refresh();
    await clock.pass(1_000);
    expect(verified()).toEqual([true, true]);
    expect([...router.ports]).toEqual(before);
  });
});
