import { sameEndpoint, type Endpoint } from '../../../src/core/endpoint.ts';
import { utf8 } from '../../../src/core/bytes.ts';
import type { NatProfile } from '../../../src/core/nat/behavior.ts';
import { PunchAgent } from '../../../src/core/punch/agent.ts';
import type { Candidate } from '../../../src/core/punch/candidate.ts';
import type { PunchInput, PunchOutput, RemoteCandidate } from '../../../src/core/punch/events.ts';
import type { PathChoice } from '../../../src/core/punch/situation.ts';
import { otherRole, type SessionRole } from '../../../src/core/session/role.ts';
import { decodeStun, encodeStun } from '../../../src/core/stun/message.ts';
import { drive, type Driven } from '../../sim/drive.ts';
import type { Host } from '../../sim/host.ts';
import type { Nat } from '../../sim/nat.ts';
import { twoLans, type TwoLans, type TwoLansOptions } from '../../sim/presets.ts';
import type { TcpConnection } from '../../sim/tcp-connection.ts';
import type { UdpSocket } from '../../sim/udp.ts';
import { profileOf } from './nat-profile.ts';
import { Tagged } from './tagged.ts';

export interface TraversalOptions extends TwoLansOptions {
  readonly kinds?: readonly PathChoice[];
  /** The responder starts this much later than T0. */
  readonly skewMs?: number;
  /** Both NATs are taken for sequential, whatever they do. */
  readonly judgedSequential?: boolean;
  /** Nothing is measured about either NAT. */
  readonly unmeasured?: boolean;
  readonly hairpinUnmeasured?: boolean;
  /** The initiator's NAT is measured only so long after T0: a peer that has just been started. */
  readonly initiatorMeasuredAfterMs?: number;
}

type Path = Extract<PunchOutput, { type: 'path' }>;
type Trace = Extract<PunchOutput, { type: 'trace' }>;
type Failure = Extract<PunchOutput, { type: 'failed' }>;

/** What one end reported, and when (milliseconds since the offer). */
export interface EndReport {
  udp: (Path & { transport: 'udp'; at: number }) | undefined;
  /** The one that was secured. */
  tcp: (Path & { transport: 'tcp'; at: number }) | undefined;
  failures: Failure[];
  traces: Trace[];
  /** Datagrams that the agent sent. */
  sent: number;
  /** TCP connections that the agent asked for. */
  dialed: number;
  done: boolean;
}

export interface TraversalReport {
  readonly a: EndReport;
  readonly b: EndReport;
  readonly lans: TwoLans;
}

const STUN_PORT = 3478;
/** Another one that observes, for mappings that depend on the destination. */
const OTHER_STUN_PORT = 3480;
const SAMPLING_PORT = 3479;
const STUN_CREDENTIALS = { username: 'registration', key: new Uint8Array(32).fill(7) };
const HELD_PORT = 41_000;
const UDP_PORT = 40_000;
/** What T0 is ahead of the answer's arrival. */
const START_MARGIN_MS = 10;

/**
 * Two agents meet through the virtual internet: mappings are observed by the server, profiles are given (discovery
 * has its own tests), offer, answer and trickled host candidates travel by way of the server.
 */
export function traverse(options: TraversalOptions): TraversalReport {
  const lans = twoLans(options);
  const { world } = lans;
  const observers = observeMappings(lans.server);
  const kinds = options.kinds ?? ['udp', 'tcp', 'relay'];
  const profile = (nats: readonly Nat[], host: Host) => {
    if (options.unmeasured) return undefined;
    const known = profileOf(nats, host.address);
    const hairpin = { hairpin: undefined };
    const measured = options.hairpinUnmeasured
      ? { ...known, udp: { ...known.udp, ...hairpin }, tcp: { ...known.tcp, ...hairpin } }
      : known;
    const allocation = { kind: 'sequential', step: 1 } as const;
    return options.judgedSequential ? { ...measured, udp: { ...measured.udp, allocation } } : measured;
  };
  const sampling = { address: lans.server.address, port: SAMPLING_PORT };
  const measured = options.initiatorMeasuredAfterMs === undefined;
  const ofA = measured ? profile(lans.natsA, lans.a) : undefined;
  const a = new End(lans.a, 'initiator', kinds, ofA, sampling);
  const b = new End(lans.b, 'responder', kinds, profile(lans.natsB, lans.b), sampling);
  const servers = lans.server.addresses.flatMap((address) =>
    [STUN_PORT, OTHER_STUN_PORT].map((port) => ({ address, port })),
  );
  for (const end of [a, b]) end.gather(servers, observers);
  world.run(() => a.gathered && b.gathered, 8_000);
  const oneWay = 2 * (options.delayMs ?? 0) + 1;
  const offered = world.now;
  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    from.onSample = (sample) =>
      world.clock.after(oneWay, () =>
        to.agent.handle({ type: 'remote', samples: [{ ...sample, seenAt: to.now - oneWay }] }),
      );
  }
  a.offeredAt = b.offeredAt = offered;
  const roundTripMs = 4 * (options.delayMs ?? 0);
  world.clock.after(oneWay, () => {
    b.meet(a.mapped(), a);
    b.agent.handle({ type: 'prime' });
    b.start(offered + 2 * oneWay + START_MARGIN_MS + (options.skewMs ?? 0), world.now, roundTripMs);
  });
  world.clock.after(2 * oneWay, () => {
    a.meet([...b.mapped(), ...b.hosts()], b);
    a.agent.handle({ type: 'prime' });
    a.start(offered + 2 * oneWay + START_MARGIN_MS, world.now, roundTripMs);
  });
  world.clock.after(3 * oneWay, () => b.agent.handle({ type: 'remote', candidates: a.hosts() }));
  if (options.initiatorMeasuredAfterMs !== undefined) {
    const late = profile(lans.natsA, lans.a);
    const measuredAt = 2 * oneWay + options.initiatorMeasuredAfterMs;
    world.clock.after(measuredAt, () => a.agent.handle({ type: 'local', profile: late }));
    world.clock.after(measuredAt + oneWay, () => b.agent.handle({ type: 'remote', profile: late }));
  }
  world.run(() => a.report.done && b.report.done, 30_000);
  for (const { agent } of [a, b]) agent.stop();
  return { a: a.report, b: b.report, lans };
}

/** What the server does with what it is sent: tells whoever waits for that text where it came from. */
type Observers = Map<string, (seen: Endpoint) => void>;

function observeMappings(server: Host): Observers {
  const observers: Observers = new Map();
  const observe = (bytes: Uint8Array, from: Endpoint) => observers.get(Buffer.from(bytes).toString())?.(from);
  for (const address of server.addresses) {
    for (const port of [STUN_PORT, OTHER_STUN_PORT]) server.udp(port, address).onDatagram = observe;
  }
  server.tcp.listen(STUN_PORT, server.address).onConnection = (connection) => {
    connection.onData = (bytes) => observe(bytes, connection.remote);
  };
  const answer = (bytes: Uint8Array, mapped: Endpoint) => {
    const { transactionId } = decodeStun(bytes);
    return encodeStun({ class: 'success', transactionId, mapped }, { key: STUN_CREDENTIALS.key });
  };
  const sampling = server.udp(SAMPLING_PORT, server.address);
  sampling.onDatagram = (bytes, from) => sampling.send(answer(bytes, from), from);
  server.tcp.listen(SAMPLING_PORT, server.address).onConnection = (connection) => {
    connection.onData = (bytes) => connection.write(answer(bytes, connection.remote));
  };
  return observers;
}

class End {
  readonly agent: Driven<PunchInput>;
  readonly report: EndReport = {
    udp: undefined,
    tcp: undefined,
    failures: [],
    traces: [],
    sent: 0,
    dialed: 0,
    done: false,
  };
  offeredAt = 0;
  onSample: ((sample: Candidate) => void) | undefined;
  readonly #host: Host;
  readonly #role: SessionRole;
  readonly #kinds: readonly PathChoice[];
  readonly #profile: NatProfile | undefined;
  readonly #sockets = new Map<number, UdpSocket>();
  readonly #connections = new Map<string, Tagged>();
  /** By the names that the agent gave them. */
  readonly #ports = new Map<string, number>();
  readonly #paths = new Map<string, Path & { transport: 'tcp' }>();
  readonly #mapped: Record<'udp' | 'tcp', Endpoint[]> = { udp: [], tcp: [] };
  readonly #listenerPort: number;
  #heldListener: { close(): void } | undefined;
  #accepted = 0;

  constructor(
    host: Host,
    role: SessionRole,
    kinds: readonly PathChoice[],
    profile: NatProfile | undefined,
    server: Endpoint,
  ) {
    this.#host = host;
    this.#role = role;
    this.#kinds = kinds;
    this.#profile = profile;
    const random = host.random.fork('agent');
    const agent = new PunchAgent({
      role,
      kinds,
      credentials: {
        username: 'session-of-a-to-b'.slice(0, 16),
        sendKey: utf8(`probe ${role}`),
        receiveKey: utf8(`probe ${otherRole(role)}`),
      },
      stun: { servers: { udp: server, tcp: server }, credentials: STUN_CREDENTIALS },
      random: (count) => Uint8Array.from({ length: count }, () => random.integer(0, 255)),
    });
    this.agent = drive(host, agent, (output) => this.#obey(output));
    const listener = host.tcp.listen(0);
    this.#listenerPort = listener.port;
    listener.onConnection = (connection) => this.#accept(connection, false);
    this.#socket(0);
  }

  /** Both mappings observed, or known not to come. */
  get gathered(): boolean {
    return this.#mapped.udp.length > 0 && this.#mapped.tcp.length > 0;
  }

  get now(): number {
    return this.#host.now;
  }

  /** From the first server; over UDP from all of them where there is a pool of addresses, whose mappings differ. */
  gather(servers: readonly Endpoint[], observers: Observers): void {
    const { fabric, name } = this.#host;
    const server = servers[0]!;
    for (const transport of ['udp', 'tcp'] as const) {
      observers.set(`${name} ${transport}`, (seen) => {
        if (!this.#mapped[transport].some((known) => sameEndpoint(known, seen)))
          this.#mapped[transport].push(seen);
      });
    }
    const hasPool = (this.#profile?.udp.publicAddresses.length ?? 0) > 1;
    const asked = hasPool ? servers : [server];
    for (const delay of [0, 200, 500, 900]) {
      fabric.clock.after(delay, () => {
        for (const to of asked) this.#socket(0).send(utf8(`${name} udp`), to);
      });
    }
    const held = this.#host.tcp.connect({ remote: server, localPort: HELD_PORT });
    held.onConnect = () => held.write(utf8(`${name} tcp`));
  }

  /** What the offer or answer carries: attested mappings. */
  mapped(): RemoteCandidate[] {
    return (['udp', 'tcp'] as const).flatMap((transport) =>
      this.#mapped[transport].map(
        (endpoint) => ({ type: 'srflx', transport, endpoint, attested: true }) as const,
      ),
    );
  }

  hosts(): RemoteCandidate[] {
    const { address } = this.#host;
    return [
      { type: 'host', transport: 'udp', endpoint: { address, port: UDP_PORT }, attested: false },
      { type: 'host', transport: 'tcp', endpoint: { address, port: this.#listenerPort }, attested: false },
    ];
  }

  meet(candidates: RemoteCandidate[], other: End): void {
    this.agent.handle({
      type: 'local',
      profile: this.#profile,
      candidates: [...this.mapped(), ...this.hosts()],
    });
    this.agent.handle({ type: 'remote', profile: other.#profile, kinds: other.#kinds, candidates });
  }

  /** @param at T0 in the world's time */
  start(at: number, now: number, roundTripMs: number): void {
    this.agent.handle({ type: 'start', at: this.#host.now + (at - now), roundTripMs });
  }

  #obey(output: PunchOutput): void {
    switch (output.type) {
      case 'send':
        this.report.sent++;
        return this.#socket(output.socket).send(output.bytes, output.to, output.ttl);
      case 'tell-sample':
        return this.onSample?.(output.candidate);
      case 'close-sockets':
        for (const [number, socket] of this.#sockets) {
          if (number !== 0 && number !== output.except) socket.close();
        }
        return;
      case 'dial':
        return this.#dial(output);
      case 'sample':
        return this.#sample(output);
      case 'cancel-dial':
        return this.#connections.get(output.connection)?.destroy();
      case 'listen-held': {
        const listener = this.#host.tcp.listen(HELD_PORT);
        listener.onConnection = (connection) => this.#accept(connection, true);
        this.#heldListener = listener;
        return;
      }
      case 'stop-listening':
        return this.#heldListener?.close();
      case 'path':
        return this.#confirm(output);
      case 'trace':
        return void this.report.traces.push(output);
      case 'failed':
        return void this.report.failures.push(output);
      case 'done':
        this.report.done = true;
        return;
      case 'moved':
        if (this.report.udp) this.report.udp = { ...this.report.udp, ...output, type: 'path' };
    }
  }

  #dial({ connection: id, to, from }: Extract<PunchOutput, { type: 'dial' }>): void {
    this.report.dialed++;
    const localPort = from === 'held' ? HELD_PORT : (this.#ports.get(from) ?? 0);
    const socket = this.#host.tcp.connect({ remote: to, localPort });
    if (from !== 'any') this.#ports.set(from, socket.local.port);
    const tagged = new Tagged(socket, this.#role);
    this.#connections.set(id, tagged);
    tagged.onBroken = () => this.agent.handle({ type: 'broken', connection: id });
    socket.onError = (code) => this.agent.handle({ type: 'dial-failed', connection: id, code });
    socket.onConnect = () => {
      socket.onError = tagged.onBroken;
      this.agent.handle({ type: 'dialed', connection: id, local: socket.local, remote: socket.remote });
    };
  }

  #sample({ socket, to, bytes }: Extract<PunchOutput, { type: 'sample' }>): void {
    const connection = this.#host.tcp.connect({ remote: to, localPort: 0 });
    connection.onData = (answer) => {
      this.agent.handle({ type: 'sampled', socket, bytes: answer });
      connection.reset();
    };
    connection.write(bytes);
  }

  #accept(socket: TcpConnection, held: boolean): void {
    const id = `accepted-${++this.#accepted}`;
    const tagged = new Tagged(socket, this.#role);
    this.#connections.set(id, tagged);
    tagged.onTag = () => {
      const { local, remote } = socket;
      this.agent.handle({ type: 'accepted', connection: id, local, remote, held });
    };
    tagged.onBroken = () => this.agent.handle({ type: 'broken', connection: id });
    tagged.exchangeTags();
  }

  #confirm(path: Path): void {
    const at = this.#host.fabric.clock.now - this.offeredAt;
    if (path.transport === 'udp') {
      this.report.udp = { ...path, at };
      return;
    }
    const id = path.connection;
    const tagged = this.#connections.get(id)!;
    this.#paths.set(id, path);
    tagged.onSecured = () => {
      this.report.tcp ??= { ...path, at: this.#host.fabric.clock.now - this.offeredAt };
      this.agent.handle({ type: 'secured', connection: id });
    };
    tagged.secure();
  }

  #socket(number: number): UdpSocket {
    let socket = this.#sockets.get(number);
    if (!socket) {
      socket = this.#host.udp(number === 0 ? UDP_PORT : 0);
      socket.onDatagram = (bytes, from) =>
        this.agent.handle({ type: 'datagram', socket: number, bytes, from });
      this.#sockets.set(number, socket);
    }
    return socket;
  }
}
