import { EventEmitter, once } from 'node:events';
import { scopeOf } from '../src/core/address.ts';
import { SallyportError } from '../src/core/errors.ts';
import type { Identity, PeerId } from '../src/core/identity.ts';
import { LIMITS } from '../src/core/limits.ts';
import type { ToRendezvous } from '../src/core/protocol/rendezvous.ts';
import { TokenBucket } from '../src/core/token-bucket.ts';
import type { Clock } from '../src/net/clock.ts';
import { watchNetwork, type NetworkChange } from '../src/net/interfaces.ts';
import type { Grant } from '../src/net/register.ts';
import { RelayLink } from '../src/net/relay-link.ts';
import { parseRendezvousUrl } from '../src/core/rendezvous-url.ts';
import { SignalConnection, type SignalMessage } from '../src/net/signal.ts';
import { LookUps } from './look-ups.ts';
import type { Network } from './network.ts';
import type { RememberedRendezvous, SettingsFile } from './settings.ts';
import { sourceTowards } from './source-address.ts';

export interface RegisterOptions {
  readonly identity: Identity;
  readonly settings: SettingsFile;
  readonly clock: Clock;
  readonly name?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface JoinOptions extends RegisterOptions {
  /** Waited for only once registered. */
  readonly network: Promise<Network>;
  readonly rendezvous?: string | readonly string[] | undefined;
  readonly role?: 'listen' | 'dial' | undefined;
}

interface Registration {
  readonly connection: SignalConnection;
  /** The rendezvous's id, if it was not known before and is trusted from now on. */
  readonly firstSeen: PeerId | undefined;
  readonly granted: Promise<unknown>;
}

interface DeploymentEvents {
  /** `anew`: what was sent before, to the rendezvous or by it, may be lost. */
  registered: [anew: boolean];
  unregistered: [why: SallyportError];
  message: [message: SignalMessage];
  /** This host has other addresses or another route, or was (or may have been) asleep, or its NAT has another address: what goes by old ways may be lost. */
  moved: [];
  error: [error: SallyportError];
}

/** How often this host's addresses, its route and its clocks are looked at. */
const WATCH_MS = 1_000;

/** One more relay that was not known before may be dialled this often, once two lists full of them were. */
const NEW_RELAY_MS = 10_000;

/** While something is awaited by the rendezvous, the connection to it is checked this often, … */
const CHECK_MS = 1_500;
/** … for the first time after so long: most of what is awaited has come by then, and the check would delay it. */
const FIRST_CHECK_MS = 100;

/** The servers that this peer uses: its registration at the rendezvous, and warm connections to the relays. */
export class Deployment extends EventEmitter<DeploymentEvents> {
  readonly url: string;
  /** What admitted us there. */
  readonly token: string | undefined;
  /** Its id, if it was not known before and is trusted from now on. */
  readonly firstSeen: PeerId | undefined;
  readonly #signal: SignalConnection;
  readonly #whenRegistered: Promise<unknown>;
  readonly #clock: Clock;
  readonly #network: Network;
  #relays = new Map<PeerId, RelayLink>();
  /** To where the rendezvous is, until it has said whether a relay is there, too. */
  #presumed: RelayLink | undefined;
  /** A rendezvous could name others without end, and with them any host for all its peers to dial. */
  readonly #newRelays: TokenBucket;
  #cancelWarming: (() => void) | undefined;
  readonly #lookUps: LookUps;
  #stopWatching: () => void;
  readonly #closing = new AbortController();

  private constructor(
    { connection: signal, firstSeen, granted }: Registration,
    network: Network,
    { clock }: JoinOptions,
    presumed: RelayLink,
    token?: string,
  ) {
    super();
    this.token = token;
    this.#presumed = presumed;
    this.firstSeen = firstSeen;
    this.url = signal.url;
    this.#signal = signal;
    const closed = once(this.#closing.signal, 'abort').then(() => {
      throw peerClosed();
    });
    this.#whenRegistered = Promise.race([granted, closed]);
    this.#whenRegistered.catch(() => {}); // whoever waits for it is told
    this.#network = network;
    this.#clock = clock;
    this.#lookUps = new LookUps(clock, (message) => this.send(message));
    this.#newRelays = new TokenBucket(1_000 / NEW_RELAY_MS, 2 * LIMITS.relaysPerDeployment, clock.now());
    signal.on('registered', (grant, anew) => this.#onRegistered(grant, anew));
    signal.on('relays', () => this.#warmRelays());
    signal.on('down', (why) => this.emit('unregistered', why));
    signal.on('error', (error) => this.emit('error', error));
    signal.on('message', (message) => this.#onMessage(message));
    const sources = ([4, 6] as const).map(
      (family) => () => sourceTowards(signal.grant?.stun.udp ?? [], this.#closing.signal, family),
    );
    this.#stopWatching = watchNetwork({ clock, everyMs: WATCH_MS, sources }, (change) =>
      this.#onNetworkChange(change),
    );
    network.on('moved', () => this.#onNetworkChange('route'));
    if (signal.grant) this.#onRegistered(signal.grant, true);
  }

  /**
   * Registers at the first rendezvous that answers. Where it is the last one, and its key is known, it may still be about to grant
   * that to a dialler: `whenRegistered`.
   * @throws the last one's SallyportError
   */
  static async join(options: JoinOptions): Promise<Deployment> {
    const { signal } = options;
    let failure: unknown;
    const all = rendezvousOf(options);
    for (const rendezvous of all) {
      const relay = new RelayLink({ url: rendezvous.url, clock: options.clock });
      for (const role of options.role ? [options.role] : (['listen', 'dial'] as const)) {
        let registration: Registration | undefined;
        try {
          const registering = registerAt(rendezvous, role, options, rendezvous === all.at(-1));
          // Most rendezvous relay as well, and the first byte waits for a connection to the relay: it is made while this one registers.
          relay.warm().catch(() => {});
          registration = await registering;
          const network = await options.network;
          const { failure: refused } = registration.connection;
          if (refused) throw refused; // meanwhile
          return new Deployment(registration, network, options, relay, rendezvous.token);
        } catch (thrown) {
          registration?.connection.close();
          failure = thrown;
          // Somebody else listens with this key: without an explicit role, dialling is what is left.
          if (!(thrown instanceof SallyportError && thrown.code === 'ALREADY_REGISTERED')) break;
        }
      }
      relay.close();
      if (signal?.aborted) break;
    }
    throw failure;
  }

  get registered(): boolean {
    return this.#signal.grant !== undefined;
  }

  /** How the first registration came out. @throws SallyportError why there was none */
  async whenRegistered(): Promise<void> {
    await this.#whenRegistered;
  }

  get failure(): SallyportError | undefined {
    return this.#signal.failure;
  }

  /** The rendezvous's own id; known once registered. */
  get id(): PeerId {
    return this.#signal.deployment!;
  }

  /** This registration's name among those of the same peer. */
  get instance(): Uint8Array {
    return this.#signal.instance;
  }

  /** The rendezvous's clock, milliseconds. */
  serverTime(): number {
    return this.#clock.now() + this.#offsetMs;
  }

  /** An instant by the rendezvous's clock, as one by ours. */
  toLocal(serverTime: number): number {
    return serverTime - this.#offsetMs;
  }

  /** The round trip to the rendezvous, milliseconds. */
  get roundTripMs(): number {
    return this.#signal.rttMs!;
  }

  send(message: ToRendezvous): boolean {
    return this.#signal.send(message);
  }

  /** By the rendezvous's word. */
  get hasRelays(): boolean {
    return this.#signal.relays.length > 0;
  }

  relay(id: PeerId): RelayLink | undefined {
    return this.#relays.get(id);
  }

  /** A path was lost, or is awaited: the connection to the rendezvous may be dead in silence, or held up by loss. */
  check(): void {
    this.#signal.check();
  }

  /** Checks soon, and again and again while what goes by the rendezvous is awaited. Returns how to stop. */
  checkWhile(isAwaited: () => boolean): () => void {
    const again = () => {
      if (!isAwaited()) return;
      this.check();
      cancel = this.#clock.setTimer(again, CHECK_MS);
    };
    let cancel = this.#clock.setTimer(again, FIRST_CHECK_MS);
    return () => cancel();
  }

  /**
   * Whose name this is, by the rendezvous's word; `undefined` for nobody's.
   * @throws SallyportError `TIMEOUT`, `ABORTED`, `SESSION_CLOSED`
   */
  resolve(name: string, signal?: AbortSignal): ReturnType<LookUps['ask']> {
    return this.#lookUps.ask(name, signal);
  }

  close(): void {
    this.#stopWatching();
    this.#closing.abort();
    this.#cancelWarming?.();
    this.#signal.close();
    for (const relay of this.#warmed) relay.close();
    this.#lookUps.close(peerClosed());
  }

  get #warmed(): RelayLink[] {
    return [...this.#relays.values(), ...(this.#presumed ? [this.#presumed] : [])];
  }

  get #offsetMs(): number {
    return this.#signal.offsetMs!;
  }

  #onRegistered({ stun, observed }: Grant, anew: boolean): void {
    const onLoopback = observed !== undefined && scopeOf(observed.address) === 'loopback';
    this.#network.discover(stun, onLoopback, () => this.#signal.relays.flatMap((relay) => relay.stun ?? []));
    this.#warmRelays();
    this.#presumed?.close();
    this.#presumed = undefined;
    if (anew) this.#lookUps.askAgain();
    this.emit('registered', anew);
  }

  #onMessage(message: SignalMessage): void {
    if (!this.#lookUps.take(message)) this.emit('message', message);
  }

  #onNetworkChange(change: NetworkChange): void {
    // A time of day that was set ends no connection: each is asked.
    if (change === 'clock') this.#signal.check();
    else {
      this.#signal.reconnectNow();
      for (const relay of this.#warmed) relay.reset();
    }
    this.emit('moved');
  }

  #warmRelays(): void {
    this.#cancelWarming?.();
    for (const { id, url } of this.#signal.relays) {
      const known = this.#relays.get(id);
      if (known?.url === url) continue;
      if (!this.#newRelays.take(this.#clock.now())) {
        this.#cancelWarming = this.#clock.setTimer(() => this.#warmRelays(), NEW_RELAY_MS);
        break;
      }
      known?.close(); // it came back elsewhere
      this.#relays.set(id, this.#takePresumed(url) ?? this.#warmRelay(url));
    }
    this.#forgetRelays();
  }

  #takePresumed(url: string): RelayLink | undefined {
    const presumed = this.#presumed;
    if (presumed?.url !== url) return undefined;
    this.#presumed = undefined;
    return presumed;
  }

  #warmRelay(url: string): RelayLink {
    const relay = new RelayLink({ url, clock: this.#clock });
    relay.warm().catch(() => {}); // it goes on trying, and a circuit says what failed
    return relay;
  }

  /** One that is no longer listed may have lost its registration alone and still carry a circuit; but not any number. */
  #forgetRelays(): void {
    const listed = new Set(this.#signal.relays.map(({ id }) => id));
    for (const [id, relay] of this.#relays) {
      if (this.#relays.size <= 2 * LIMITS.relaysPerDeployment) return;
      if (listed.has(id)) continue;
      this.#relays.delete(id);
      relay.close();
    }
  }
}

/** Why nothing is waited for any longer. */
export function peerClosed(): SallyportError {
  return new SallyportError('SESSION_CLOSED', 'this peer was closed');
}

function rendezvousOf({ rendezvous, settings }: JoinOptions): RememberedRendezvous[] {
  const urls = typeof rendezvous === 'string' ? [rendezvous] : (rendezvous ?? []);
  const remembered = settings.rendezvous;
  if (urls.length === 0) {
    if (remembered) return [remembered];
    throw new SallyportError('USAGE', 'no rendezvous is known', {
      hint: 'run `peer join <url>` with the URL that `rendezvous start` prints, or give --rendezvous',
    });
  }
  return urls.map((text) => {
    const named = parseRendezvousUrl(text);
    return named.url === remembered?.url ? { ...remembered, ...definedOnly(named) } : named;
  });
}

/** Registers there for a moment: whether this peer is admitted. @throws SallyportError why it isn't; `RENDEZVOUS_UNREACHABLE` */
export async function tryRendezvous(
  rendezvous: RememberedRendezvous,
  options: RegisterOptions,
): Promise<Registration['firstSeen']> {
  const { connection, firstSeen } = await registerAt(rendezvous, 'dial', options);
  connection.close();
  return firstSeen;
}

async function registerAt(
  rendezvous: RememberedRendezvous,
  role: 'listen' | 'dial',
  options: RegisterOptions,
  early = false,
): Promise<Registration> {
  const connection = connectTo(rendezvous, role, options);
  const isKnown = connection.deployment !== undefined;
  const patience = { firstAttemptOnly: true, signal: options.signal };
  const granted = connection.whenRegistered(patience);
  try {
    await (early ? Promise.race([granted, once(connection, 'asked')]) : granted);
    granted.catch(() => {}); // whoever waits for it is told
    if (isKnown) return { connection, firstSeen: undefined, granted };
    const deployment = connection.deployment!;
    options.settings.pinDeployment(rendezvous.url, deployment);
    return { connection, firstSeen: deployment, granted };
  } catch (thrown) {
    connection.close();
    throw thrown;
  }
}

function connectTo(
  { url, id, token }: RememberedRendezvous,
  role: 'listen' | 'dial',
  { identity, settings, clock, name }: RegisterOptions,
): SignalConnection {
  const deployment = id ?? settings.pinnedDeployment(url);
  const connection = new SignalConnection({ url, token, identity, role, name, deployment, clock });
  connection.on('error', () => {}); // whoever waits for the registration is told
  return connection;
}

function definedOnly<T extends object>(fields: T): Partial<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Partial<T>;
}
