import { EventEmitter, once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { canonicalAddress } from '../src/core/address.ts';
import { base64url } from '../src/core/bytes.ts';
import type { Endpoint } from '../src/core/endpoint.ts';
import { LIMITS } from '../src/core/limits.ts';
import { UNMEASURED, type NatProfile } from '../src/core/nat/behavior.ts';
import type { Candidate, Transport } from '../src/core/punch/candidate.ts';
import { FloodBudget } from '../src/core/punch/flood-budget.ts';
import { ProbeBudget } from '../src/core/punch/probe-budget.ts';
import type { StunService } from '../src/core/punch/sampler.ts';
import type { PathChoice } from '../src/core/punch/situation.ts';
import type { Clock } from '../src/net/clock.ts';
import { deferred } from '../src/net/deferred.ts';
import { hostAddresses } from '../src/net/interfaces.ts';
import { NatDiscovery, type StunAccess } from '../src/net/nat-discovery.ts';
import { readTag } from '../src/net/tag.ts';
import { UdpSocket } from '../src/net/udx.ts';

/** A session that shares the UDP socket: takes the datagrams that are its own. */
export interface DatagramOwner {
  owns(bytes: Uint8Array): boolean;
  receive(bytes: Uint8Array, from: Endpoint): void;
}

/** A TCP connection that came in, its tag already read. */
export interface TaggedConnection {
  readonly socket: Socket;
  readonly tag: Uint8Array;
  /** On the port that TCP STUN connections hold, rather than on the listener's own. */
  readonly held: boolean;
}

interface NetworkEvents {
  /** Our candidates or the profile changed. */
  changed: [];
}

/** Unauthenticated TCP connections at a time, in all and from one address; more are closed at once. */
const MAX_UNTAGGED = 64;
const MAX_UNTAGGED_PER_ADDRESS = 16;

const NOTHING_MEASURED: NatProfile = { version: 0, udp: UNMEASURED, tcp: UNMEASURED };

/**
 * What this peer has of the network: one UDP socket for everything, one TCP listener, the port that its TCP STUN
 * connection holds, and what was measured of the NATs on those very sockets.
 */
export class Network extends EventEmitter<NetworkEvents> {
  readonly udp: UdpSocket;
  /** One for all sessions: what may be probed in great numbers, and when. */
  readonly floods = new FloodBudget();
  readonly probes = new ProbeBudget();
  #clock: Clock;
  #listener: Server;
  #heldListener: Server | undefined;
  #discovery: NatDiscovery | undefined;
  /** What `#discovery` was made for. */
  #access: string | undefined;
  #stun: StunService | undefined;
  #owners = new Set<DatagramOwner>();
  #acceptors = new Map<string, (connection: TaggedConnection) => void>();
  #onLoopback = false;
  #diagnosed = new Set<Transport>();
  /** Addresses of connections whose tag hasn't come yet, one entry each. */
  #untagged: string[] = [];
  #listeningHeld = 0;

  private constructor(clock: Clock, udp: UdpSocket, listener: Server) {
    super();
    this.#clock = clock;
    this.udp = udp;
    this.#listener = listener;
    udp.on('datagram', (bytes, from) => this.#route(bytes, from));
    listener.on('connection', (socket) => void this.#identify(socket, false));
  }

  static async open(clock: Clock): Promise<Network> {
    const udp = UdpSocket.open({ host: '0.0.0.0', port: 0 });
    return new Network(clock, udp, await listenOn(0));
  }

  /** True where the rendezvous is on this very host: then, and only then, loopback addresses mean anything to a peer. */
  get onLoopback(): boolean {
    return this.#onLoopback;
  }

  /** Measures the NATs by the deployment's STUN servers; again with new ones when called again. */
  discover(stun: StunAccess, onLoopback: boolean): void {
    this.#onLoopback = onLoopback;
    const localAddresses = hostAddresses().map(({ address }) => address);
    // A registration that came back has the same STUN servers and key: what is held there stays held.
    const access = JSON.stringify([stun, localAddresses]);
    if (access === this.#access) return this.#discovery?.refresh();
    this.#access = access;
    this.#discovery?.close();
    this.#stun = { servers: { udp: stun.udp[0], tcp: stun.tcp[0] }, credentials: stun };
    const discovery = new NatDiscovery({
      datagrams: this.udp,
      freshDatagrams: () => Promise.resolve(UdpSocket.open({ host: '0.0.0.0', port: 0 })),
      stun,
      localAddresses,
      clock: this.#clock,
    });
    this.#discovery = discovery;
    discovery.on('mapped', () => this.emit('changed'));
    discovery.on('profile', (transport, _profile, complete) => {
      if (complete) this.#diagnosed.add(transport);
      this.emit('changed');
    });
    discovery.start();
  }

  get discovery(): NatDiscovery | undefined {
    return this.#discovery;
  }

  /** Where a fresh socket's mapping can be asked for. */
  get stun(): StunService | undefined {
    return this.#stun;
  }

  get heldPort(): number | undefined {
    return this.#discovery?.heldPort;
  }

  get profile(): NatProfile {
    return this.#discovery?.profile ?? NOTHING_MEASURED;
  }

  /** Server-reflexive candidates, as attested by the rendezvous: what may travel in the offer itself. */
  get publicCandidates(): Candidate[] {
    return this.#discovery?.candidates ?? [];
  }

  /** What a peer may know of us before it has proven the session's keys, as far as these kinds of path need it. */
  publicFace(kinds: readonly PathChoice[]): { candidates: Candidate[]; profile: NatProfile } {
    const candidates = this.publicCandidates.filter(({ transport }) => kinds.includes(transport));
    const direct = kinds.some((kind) => kind !== 'relay');
    return {
      candidates: candidates.slice(0, LIMITS.candidates),
      profile: direct ? this.profile : NOTHING_MEASURED,
    };
  }

  /** Addresses of this host: for the peer's eyes only. The TCP ones name the listener's port. */
  get hostCandidates(): Candidate[] {
    const ports: [Transport, number][] = [
      ['udp', this.udp.address.port],
      ['tcp', (this.#listener.address() as { port: number }).port],
    ];
    const addresses = hostAddresses().filter(({ family }) => family === 4);
    return [...addresses.map(({ address }) => address), ...(this.#onLoopback ? ['127.0.0.1'] : [])].flatMap(
      (address) =>
        ports.map(([transport, port]): Candidate => ({
          type: 'host',
          transport,
          endpoint: { address, port },
        })),
    );
  }

  /** Resolves when the UDP mapping is known, or after `capMs`: connecting doesn't wait for a full diagnosis. */
  async mapped(capMs: number): Promise<void> {
    const known = () => this.publicCandidates.some(({ transport }) => transport === 'udp');
    const deadline = this.#clock.now() + capMs;
    while (!known() && this.#clock.now() < deadline) {
      await this.#changedOrAfter(deadline - this.#clock.now());
    }
  }

  /** Resolves when both transports are fully measured, or after `capMs`. */
  async diagnosed(capMs: number, signal?: AbortSignal): Promise<void> {
    const deadline = this.#clock.now() + capMs;
    const stopped = () => signal?.aborted === true;
    while (this.#diagnosed.size < 2 && this.#clock.now() < deadline && !stopped()) {
      await this.#changedOrAfter(deadline - this.#clock.now());
    }
  }

  /** Asks for our mappings anew, as after a loss that may be a NAT's; resolves when they are known, or after `capMs`. */
  async refreshed(capMs: number): Promise<void> {
    const discovery = this.#discovery;
    if (!discovery) return;
    const cap = deferred<void>();
    const cancel = this.#clock.setTimer(() => cap.resolve(), capMs);
    await Promise.race([discovery.attested(), cap.promise]);
    cancel();
  }

  /** Datagrams that `owner` recognises go there. Returns how to stop it. */
  own(owner: DatagramOwner): () => void {
    this.#owners.add(owner);
    return () => this.#owners.delete(owner);
  }

  /** Incoming connections that begin with `tag` go to `accept`. Returns how to stop it. */
  accept(tag: Uint8Array, accept: (connection: TaggedConnection) => void): () => void {
    const key = base64url(tag);
    this.#acceptors.set(key, accept);
    return () => this.#acceptors.delete(key);
  }

  /** Listens on the held port as well, for as long as anybody asks; no dial can leave from it meanwhile. */
  async listenHeld(): Promise<void> {
    const port = this.heldPort;
    if (++this.#listeningHeld > 1 || port === undefined) return;
    const listener = await listenOn(port).catch(() => undefined);
    if (!listener || this.#listeningHeld === 0) return void listener?.close();
    listener.on('connection', (socket) => void this.#identify(socket, true));
    this.#heldListener = listener;
  }

  stopListeningHeld(): void {
    if (this.#listeningHeld === 0 || --this.#listeningHeld > 0) return;
    this.#heldListener?.close();
    this.#heldListener = undefined;
  }

  async close(): Promise<void> {
    this.#discovery?.close();
    this.#heldListener?.close();
    this.#listener.close();
    await this.udp.close();
  }

  #route(bytes: Uint8Array, from: Endpoint): void {
    for (const owner of this.#owners) {
      if (owner.owns(bytes)) return owner.receive(Uint8Array.from(bytes), from);
    }
  }

  async #identify(socket: Socket, held: boolean): Promise<void> {
    socket.on('error', () => socket.destroy());
    const address = canonicalAddress(socket.remoteAddress ?? '0.0.0.0');
    const sameAddress = this.#untagged.filter((other) => other === address).length;
    if (this.#untagged.length >= MAX_UNTAGGED || sameAddress >= MAX_UNTAGGED_PER_ADDRESS) {
      socket.destroy();
      return;
    }
    this.#untagged.push(address);
    try {
      const tag = await readTag(socket);
      const accept = this.#acceptors.get(base64url(tag));
      if (accept) accept({ socket, tag, held });
      else socket.destroy();
    } catch {
      socket.destroy();
    } finally {
      this.#untagged.splice(this.#untagged.indexOf(address), 1);
    }
  }

  async #changedOrAfter(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const done = () => {
        cancel();
        this.off('changed', done);
        resolve();
      };
      const cancel = this.#clock.setTimer(done, ms);
      this.once('changed', done);
    });
  }
}

async function listenOn(port: number): Promise<Server> {
  const server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: false });
  server.listen({ host: '0.0.0.0', port });
  await once(server, 'listening');
  return server;
}
