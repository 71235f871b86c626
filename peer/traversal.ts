import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Family } from '../src/core/address.ts';
import { familyOf, formatEndpoint, type Endpoint } from '../src/core/endpoint.ts';
import { asSallyportError } from '../src/core/errors.ts';
import type { PeerId } from '../src/core/identity.ts';
import type { Instant } from '../src/core/machine.ts';
import { PunchAgent } from '../src/core/punch/agent.ts';
import type { Candidate } from '../src/core/punch/candidate.ts';
import type { PunchInput, PunchOutput, TcpPath, UdpPath } from '../src/core/punch/events.ts';
import type { TransportObstacle } from '../src/core/punch/obstacle.ts';
import type { PathChoice } from '../src/core/punch/situation.ts';
import type { SessionKeys } from '../src/core/session/keys.ts';
import { otherRole, type SessionRole } from '../src/core/session/role.ts';
import type { Clock } from '../src/net/clock.ts';
import { Driver } from '../src/net/driver.ts';
import { secure } from '../src/net/secure.ts';
import { askStunOverTcp } from '../src/net/stun-sample.ts';
import type { UdpSocket, UdxPipe } from '../src/net/udx.ts';
import { openAnyPort } from './fresh-port.ts';
import type { Network } from './network.ts';
import { DIAL_TIMEOUT_MS, RoundConnections } from './round-connections.ts';
import type { MessagePort } from './session-datagrams.ts';
import type { TraceLine } from './trace.ts';
import { resetConnection } from '../src/net/reset.ts';

/** A direct path, secured and ready for the session. */
export interface DirectPath {
  readonly kind: 'udp' | 'tcp';
  readonly pipe: Duplex;
  readonly local: string | undefined;
  readonly remote: string;
  readonly technique: string;
  readonly lan: boolean;
  readonly rttMs: number | undefined;
  /** Before the pipe of a path that fell silent is destroyed. */
  readonly abandon?: (() => void) | undefined;
  /** For datagrams that may be lost. */
  readonly messages?: MessagePort | undefined;
}

export interface TraversalOptions {
  readonly role: SessionRole;
  readonly peer: PeerId;
  readonly keys: SessionKeys;
  readonly kinds: readonly PathChoice[];
  readonly network: Network;
  /** In place of the shared socket for IPv4; the round closes it, or the path that it carries. */
  readonly freshUdp?: UdpSocket | undefined;
  readonly clock: Clock;
  /** Which round of this session it is; both ends count alike. */
  readonly round: number;
  /** Ends what a round that was stopped would still secure, too. */
  readonly signal: AbortSignal;
  readonly onPath: (path: DirectPath) => void;
  /** Tells the peer of a port that this round dials from instead of the held one. */
  readonly tellPort: (candidate: Candidate) => void;
  /** Tells the peer at once where this end's NAT counts its ports. */
  readonly tellSample: (candidate: Candidate) => void;
  readonly onTrace: (line: TraceLine) => void;
  readonly onObstacle: (obstacle: TransportObstacle) => void;
  /** Everything that this round could try was tried, and nothing that it found is still being secured. */
  readonly onDone: () => void;
}

/** For the keys of a path that probes have proven. Its first bytes are repeated for as long. */
const SECURING_MS = 10_000;
/** A peer takes some time to answer; and where it has settled a moment later than we, it has missed what came first. */
const LEAST_REPEAT_MS = 20;
/** Instead of a round trip that nothing has shown. */
const UNMEASURED_MS = 100;

/** One round of hole punching for one session: the agent decides, this carries it out on real sockets. */
export class Traversal {
  #options: TraversalOptions;
  /** Gone with its agent once the round was stopped: a path that came of it may refer to this for days. */
  #driver: Driver<PunchInput, PunchOutput> | undefined;
  /** Where TCP is allowed. */
  #connections: RoundConnections | undefined;
  /** Ends the samples that are under way. */
  #ended = new AbortController();
  /** Sockets of this round alone, by the number that the agent gave them; 0 is one that stands in for the shared one. */
  #sockets = new Map<number, UdpSocket>();
  #udpPipe: UdxPipe | undefined;
  /** The one that carries the path, if it isn't the shared one. */
  #pathSocket: number | undefined;
  #listening = new Set<Family>();
  /** Ways that were found and are being secured. */
  #securing = 0;
  /** To the peer by way of the rendezvous. */
  #roundTripMs = UNMEASURED_MS;
  #done = false;
  #stopped = false;
  #release: (() => void)[] = [];

  constructor(options: TraversalOptions) {
    const { role, keys, peer, kinds, network, clock } = options;
    this.#options = options;
    const agent = new PunchAgent({
      role,
      kinds,
      peer,
      credentials: {
        username: keys.probeUsername,
        sendKey: keys.probe(role),
        receiveKey: keys.probe(otherRole(role)),
      },
      allowLoopback: network.onLoopback,
      stun: network.stun,
      floods: network.floods,
      probes: network.probes,
    });
    this.#driver = new Driver(agent, clock, (output) => this.#carryOut(output));
    // What isn't allowed isn't taken either, however well the peer authenticates it (`--paths`).
    if (options.freshUdp) this.#listenTo(0, options.freshUdp);
    else if (kinds.includes('udp')) this.#shareUdp(agent);
    if (kinds.includes('tcp')) {
      const { tellPort, onTrace } = options;
      const handle = (input: PunchInput) => this.handle(input);
      this.#connections = new RoundConnections({ role, keys, network, handle, tellPort, onTrace });
    }
  }

  /** Apart from the constructor, whose other functions outlive the agent: those of one scope hold all that one of them names. */
  #shareUdp(agent: PunchAgent): void {
    const owns = (bytes: Uint8Array) => agent.owns(bytes);
    const receive = (bytes: Uint8Array, from: Endpoint) =>
      this.handle({ type: 'datagram', socket: 0, bytes, from });
    this.#release.push(this.#options.network.own({ owns, receive }));
  }

  handle(input: PunchInput): void {
    if (!this.#stopped) this.#driver?.handle(input);
  }

  /**
   * @param at T0 on the local clock
   * @param confirmMs so much later the answerer begins
   */
  start(at: Instant, roundTripMs: number, confirmMs: number): void {
    this.#roundTripMs = roundTripMs;
    this.handle({ type: 'start', at, roundTripMs, confirmMs });
  }

  /** Ends the round; paths that were handed over stay. */
  stop(): void {
    if (this.#stopped) return;
    this.handle({ type: 'stop' });
    this.#stopped = true;
    this.#driver?.stop();
    this.#driver = undefined;
    for (const release of this.#release) release();
    this.#connections?.stop();
    this.#closeSockets((number) => number === this.#pathSocket);
    this.#ended.abort();
    for (const family of this.#listening) this.#options.network.stopListeningHeld(family);
  }

  #carryOut(output: PunchOutput): void {
    switch (output.type) {
      case 'send':
        return this.#socket(output.socket, output.to)?.send(output.bytes, output.to, output.ttl);
      case 'tell-sample':
        return this.#options.tellSample(output.candidate);
      case 'close-sockets':
        return this.#closeSockets((number) => number === 0 || number === output.except);
      case 'dial':
        return this.#connections?.dial(output.connection, output.to, output.from);
      case 'sample':
        return void this.#sample(output.socket, output.to, output.bytes);
      case 'cancel-dial':
        return this.#connections?.drop(output.connection);
      case 'listen-held':
        this.#listening.add(output.family);
        return void this.#options.network.listenHeld(output.family);
      case 'stop-listening':
        this.#listening.delete(output.family);
        return this.#options.network.stopListeningHeld(output.family);
      case 'path':
        return output.transport === 'udp' ? this.#useUdp(output) : this.#useTcp(output);
      case 'moved':
        return this.#move(output.socket, output.remote);
      case 'trace': {
        const { type: _, ...line } = output;
        return this.#options.onTrace(line);
      }
      case 'failed': {
        const { type: _, ...obstacle } = output;
        return this.#options.onObstacle(obstacle);
      }
      case 'done':
        this.#done = true;
        return this.#conclude();
    }
  }

  /** @param remote decides which of the shared sockets number 0 is */
  #socket(number: number, remote: Endpoint): UdpSocket | undefined {
    const open = this.#sockets.get(number);
    if (open) return open;
    if (number === 0) return this.#options.network.udpOf(familyOf(remote));
    const socket = openAnyPort();
    return socket && this.#listenTo(number, socket);
  }

  #listenTo(number: number, socket: UdpSocket): UdpSocket {
    socket.on('datagram', (bytes, from) =>
      this.handle({ type: 'datagram', socket: number, bytes: Uint8Array.from(bytes), from }),
    );
    this.#sockets.set(number, socket);
    return socket;
  }

  #closeSockets(isKept: (number: number) => boolean): void {
    for (const [number, socket] of this.#sockets) {
      if (isKept(number)) continue;
      this.#sockets.delete(number);
      void socket.close();
    }
  }

  /** One that fails says nothing; the next try takes another sample. */
  async #sample(socket: number, server: Endpoint, request: Uint8Array): Promise<void> {
    const { signal } = this.#ended;
    const answer = await askStunOverTcp({ server, request, signal }).catch(() => undefined);
    if (answer) this.handle({ type: 'sampled', socket, bytes: answer });
  }

  #useUdp({ socket: number, remote, technique, lan, roundTripMs }: UdpPath): void {
    const { role, keys, signal, onPath } = this.#options;
    const socket = this.#socket(number, remote)!;
    const pipe = this.#openPipe(socket, remote, roundTripMs);
    if (!pipe) return;
    this.#udpPipe = pipe;
    this.#pathSocket = number; // it lives as long as the path now; the agent may still send its last probes
    if (this.#sockets.has(number)) pipe.once('close', () => void socket.close());
    this.#securing++;
    const security = { role: tlsRole(role), keys: keys.path('udp', role), signal, timeoutMs: SECURING_MS };
    const secured = secure(pipe, security).then(
      (secured) =>
        onPath({
          kind: 'udp',
          pipe: secured,
          local: formatEndpoint(this.#socket(number, pipe.remote)!.address), // it may have moved to the other family's
          remote: formatEndpoint(pipe.remote),
          technique,
          lan,
          rttMs: roundTripMs,
          messages: pipe,
        }),
      (thrown: unknown) => this.#udpFailed(thrown),
    );
    void secured.finally(() => this.#secured());
  }

  /** The next round's has another id. */
  #openPipe(socket: UdpSocket, remote: Endpoint, roundTripMs: number | undefined): UdxPipe | undefined {
    const { role, keys, round } = this.#options;
    try {
      return socket.connect({
        localId: keys.udxStreamId(role, round),
        remoteId: keys.udxStreamId(otherRole(role), round),
        remote,
        repeatMs: Math.max(LEAST_REPEAT_MS, 1.5 * (roundTripMs ?? this.#roundTripMs)),
      });
    } catch (thrown) {
      this.#udpFailed(thrown);
      return undefined;
    }
  }

  #move(socket: number, remote: Endpoint): void {
    // A pipe that ends meanwhile needs no other address.
    if (this.#udpPipe)
      this.#socket(socket, remote)
        ?.adopt(this.#udpPipe, remote)
        .catch(() => {});
  }

  #useTcp({ connection, local, remote, technique, lan }: TcpPath): void {
    const { role, keys, onPath } = this.#options;
    const connections = this.#connections;
    const socket = connections?.get(connection);
    if (!connections || !socket) return;
    const tag = connections.tagOf(connection);
    this.#securing++;
    const security = { role: tlsRole(role), keys: keys.path('tcp', role), tag, timeoutMs: DIAL_TIMEOUT_MS };
    const secured = secure(socket, security).then(
      (secured) => {
        connections.letGo(connection);
        this.handle({ type: 'secured', connection });
        onPath({
          kind: 'tcp',
          pipe: secured,
          local: formatEndpoint(local),
          remote: formatEndpoint(remote),
          technique,
          lan,
          rttMs: undefined,
          abandon: resetting(socket),
        });
      },
      (thrown: unknown) => {
        this.#failed('tcp', thrown);
        if (connections.letGo(connection)) this.handle({ type: 'broken', connection });
      },
    );
    void secured.finally(() => this.#secured());
  }

  #secured(): void {
    this.#securing--;
    this.#conclude();
  }

  #conclude(): void {
    if (this.#done && this.#securing === 0 && !this.#stopped) this.#options.onDone();
  }

  /** The agent has done its part, and says nothing more of UDP in this round. */
  #udpFailed(thrown: unknown): void {
    if (this.#stopped) return;
    const reason = this.#failed('udp', thrown);
    this.#options.onObstacle({ transport: 'udp', code: 'NOT_THROUGH', reason });
  }

  #failed(transport: 'udp' | 'tcp', thrown: unknown): string {
    const text = `the connection was made, but not secured: ${asSallyportError(thrown).message}`;
    if (!this.#stopped) this.#options.onTrace({ transport, stage: 'plan', text, packets: 0, elapsedMs: 0 });
    return text;
  }
}

/** Merely closed, a connection would go on trying to say so, and keep its pair of ports from the next attempt. */
function resetting(socket: Socket): () => void {
  return () => resetConnection(socket);
}

/** The session's initiator is the TLS client on every path, whoever dialled (docs/protocol.md, "Attaching a path"). */
function tlsRole(role: SessionRole): 'client' | 'server' {
  return role === 'initiator' ? 'client' : 'server';
}
