import { expect, it } from 'vitest';
import type { Endpoint } from '../../../src/core/endpoint.ts';
import type { DiscoverySocket } from '../../../src/core/nat/binding-test.ts';
import type { ProfileReport } from '../../../src/core/nat/discovery.ts';
import { UdpDiscovery } from '../../../src/core/nat/udp-discovery.ts';
import { StunResponder } from '../../../src/core/stun/responder.ts';
import { credentials, deployment, peer } from './stun-world.ts';

const SERVERS = ['203.0.113.1', '203.0.113.2'].flatMap((address) => [
  { address, port: 3478 },
  { address, port: 3479 },
]);

/** One, and a server's answers to it. */
function discovery(): { machine: UdpDiscovery; responder: StunResponder } {
  let transactions = 0;
  const machine = new UdpDiscovery({
    servers: SERVERS,
    credentials,
    localAddresses: ['192.168.1.2'],
    localPort: 5000,
    random: (length) => new Uint8Array(length).fill(++transactions),
  });
  const responder = new StunResponder({
    deployment,
    lookup: () => ({ peer: peer.id, key: credentials.key }),
    seed: 1,
  });
  return { machine, responder };
}

/** What filtering is measured where replies from elsewhere come in by this socket. */
function filteringWhenRepliesReach(socket: DiscoverySocket): string | undefined {
  const { machine, responder } = discovery();
  let filtering: string | undefined;
  machine.handle({ type: 'start' }, 0);
  for (let now = 0; now < 3_000; now += 10) {
    if (machine.deadline !== undefined && machine.deadline <= now) machine.handleTimeout(now);
    for (let output = machine.poll(); output; output = machine.poll()) {
      if (output.type === 'profile') filtering = output.profile.filtering;
      if (output.type !== 'send') continue;
      const { address, port } = output.to;
      const on = { address, port, otherAddress: other(address), otherPort: port === 3478 ? 3479 : 3478 };
      const from = { address: '198.51.100.1', port: output.socket === 'main' ? 5000 : 20_000 };
      const reply = responder.respond(output.bytes, { transport: 'udp', from, on }, now)!;
      const source = {
        address: reply.change.address ? on.otherAddress : address,
        port: reply.change.port ? on.otherPort : port,
      };
      const by = output.socket === 'main' ? 'main' : socket;
      machine.handle({ type: 'datagram', socket: by, bytes: reply.bytes, from: source }, now);
    }
  }
  return filtering;
}

function other(address: string): string {
  return SERVERS.find((server) => server.address !== address)!.address;
}

it('counts a reply from elsewhere only on the socket that has contacted nobody else', () => {
  expect(filteringWhenRepliesReach('filtering')).toBe('endpoint-independent');
  expect(filteringWhenRepliesReach('main')).toBe('address-and-port-dependent');
});

it('has no part in what answers none of its tests', () => {
  const machine = new UdpDiscovery({
    servers: SERVERS,
    credentials,
    localAddresses: ['192.168.1.2'],
    localPort: 5000,
    random: (length) => new Uint8Array(length).fill(7),
  });
  const answer = (transaction: number) => new Uint8Array(68).fill(transaction);
  expect(machine.owns(answer(7))).toBe(false);
  machine.handle({ type: 'start' }, 0);
  expect(machine.owns(answer(7))).toBe(true);
  expect(machine.owns(answer(8))).toBe(false);
  expect(machine.owns(Uint8Array.of(7))).toBe(false);
});

/** A discovery whose process runs at these instants alone: what it sends is answered, if at all, before it runs the next time but one. */
function reportsOfWaking(at: readonly number[], isAnswered: boolean) {
  const { machine, responder } = discovery();
  const reports: ({ readonly now: number } & ProfileReport)[] = [];
  const answers: { readonly bytes: Uint8Array; readonly on: Endpoint }[] = [];
  const drain = (now: number) => {
    for (let output = machine.poll(); output; output = machine.poll()) {
      if (output.type === 'profile') reports.push({ ...output, now });
      if (output.type !== 'send' || output.socket !== 'main' || !isAnswered) continue;
      const from = { address: '198.51.100.1', port: 5000 };
      const on = { ...output.to, otherAddress: other(output.to.address), otherPort: 3479 };
      const reply = responder.respond(output.bytes, { transport: 'udp', from, on }, now)!;
      answers.push({ bytes: reply.bytes, on: output.to });
    }
  };
  machine.handle({ type: 'start' }, 0);
  for (const now of at) {
    const come = answers.splice(0);
    drain(now);
    if (machine.deadline !== undefined && machine.deadline <= now) machine.handleTimeout(now);
    drain(now);
    for (const { bytes, on } of come)
      machine.handle({ type: 'datagram', socket: 'main', bytes, from: on }, now);
    drain(now);
  }
  return reports;
}

const every = (ms: number, until: number) => Array.from({ length: until / ms }, (_, n) => (n + 1) * ms);

it('takes no silence for a network without UDP in which it slept itself', () => {
  const reports = reportsOfWaking([1_500, ...every(10, 4_000).map((ms) => 1_500 + ms)], true);
  expect(reports.map(({ profile }) => profile.reachable)).not.toContain(false);
  expect(reports.at(-1)).toMatchObject({ complete: true, profile: { reachable: true } });
});

it('doubts its own silence where it never gets to listen, and is done all the same', () => {
  const reports = reportsOfWaking(every(1_800, 18_000), false);
  expect(reports.at(-1)).toMatchObject({ complete: true, profile: { reachable: undefined } });
});

it('doubts it no longer once it measures again, and listens', () => {
  const asleep = every(1_800, 18_000);
  const awake = every(10, 60_000).map((ms) => 18_000 + ms);
  const reports = reportsOfWaking([...asleep, ...awake], false);
  expect(reports.at(-1)).toMatchObject({ complete: true, profile: { reachable: false } });
});

it('hears that nothing gets out where it was awake', () => {
  const reports = reportsOfWaking(every(10, 2_000), false);
  expect(reports.at(-1)).toMatchObject({ complete: true, profile: { reachable: false } });
});
