import type { Duplex } from 'node:stream';
import { isPeerId, type Identity, type PeerId } from '../src/core/identity.ts';
import { checkOptions } from '../src/core/check-options.ts';
import { asSallyportError, SallyportError } from '../src/core/errors.ts';
import { parsePeerName } from '../src/core/peer-name.ts';
import { remoteFailure } from '../src/core/remote-failure.ts';
import { parseInvite } from '../src/core/invite.ts';
import { pathTerms, type PathRequest } from '../src/core/punch/situation.ts';
import type { NatProfile } from '../src/core/nat/behavior.ts';
import { systemClock } from '../src/net/clock.ts';
import { Emitter } from '../src/net/emitter.ts';
import { allowRuleText, DENIED, parseAllowRule } from './allow-list.ts';
import {
  acceptOptions,
  callOptions,
  exposeOptions,
  exposureOptions,
  handlerOptions,
  inviteOptions,
  peerOptions,
  permitOptions,
  pipeOptions,
  reconfiguration,
  waitingOptions,
} from './check-options.ts';
import { parseExposure, type Exposure } from './exposure.ts';
import { History, rememberSuccess } from './history.ts';
import { Home } from './home.ts';
import { Deployment, peerClosed } from './deployment.ts';
import { Introductions } from './introductions.ts';
import type { ListenPermit } from './listen-permit.ts';
import { oneself, withNamed } from './names.ts';
import { Network } from './network.ts';
import type { OfferTerms } from './offering.ts';
import { prospectOf, type Prospect } from './prospect.ts';
import type { Session } from './session.ts';
import { ServiceProvider, type ServiceHandler } from './services/provider.ts';
import type { StreamRecord } from './services/serve.ts';
import { SettingsFile } from './settings.ts';
import { Successors } from './successors.ts';
import { Trust } from './trust.ts';

export interface PeerOptions {
  /** The folder of this peer's key, settings and allow list; the user's own by default. */
  home?: string | undefined;
  /** Where the rendezvous is, as a URL; the one remembered by `peer join` by default. Several are tried in order. */
  rendezvous?: string | readonly string[] | undefined;
  /** Who may open sessions here beside the allow list in `home`: ids, `any`, `id=service,…`. */
  allow?: readonly string[] | undefined;
  /** A name under which others may find this peer. */
  name?: string | undefined;
  /**
   * `listen` takes sessions from others, and one process per home can; `dial` only opens them. By default it listens
   * if it can.
   */
  role?: 'listen' | 'dial' | undefined;
  /** Asks the router to map ports, by UPnP-IGD, NAT-PMP or PCP. @default true */
  portMapping?: boolean | undefined;
  signal?: AbortSignal | undefined;
}

export interface ConnectOptions {
  /** The kinds of path that may be used; all of them by default. */
  paths?: readonly PathRequest[] | undefined;
  signal?: AbortSignal | undefined;
  /** Trust a name that wasn't met before to belong to the peer that the rendezvous names. */
  acceptName?: boolean | undefined;
}

export interface InviteOptions {
  /** What the guest may reach; all that is exposed where nothing is named. */
  services?: readonly string[] | undefined;
}

export interface AcceptOptions extends Omit<ConnectOptions, 'acceptName'> {
  /** What the inviter may reach here in turn; all that is exposed where nothing is named. */
  services?: readonly string[] | undefined;
}

/** What a running peer can be told anew. */
export interface Reconfiguration {
  readonly allow: readonly string[];
  readonly exposures: readonly Exposure[];
  readonly permits: readonly ListenPermit[];
}

export interface PeerEvents {
  registered: [];
  /** No connection to the rendezvous; direct sessions go on, and it is tried again. */
  unregistered: [why: SallyportError];
  /** A session began, here or there. */
  session: [session: Session];
  stream: [record: StreamRecord];
  /** An invite was used: this peer is on the allow list from now on. */
  guest: [guest: PeerId];
  /** A peer has another id than it had: what was known of the old one, and allowed to it, is the new one's. */
  successor: [from: PeerId, to: PeerId];
  /** A peer has another id than it had and was refused: `allow` names the one before. */
  outdated: [from: PeerId, to: PeerId];
  /** The allow list can't be read any more, and so allows nobody. */
  'allow-list': [why: SallyportError];
  /** The registration is lost for good; sessions that are direct go on. */
  error: [error: SallyportError];
}

const ALL_PATHS: readonly PathRequest[] = ['udp', 'tcp', 'relay'];

/** One of two computers that want to meet: its identity, its network, whom it trusts, its sessions. */
export class Peer extends Emitter<PeerEvents> {
  readonly id: PeerId;
  /** @internal */
  readonly home: Home;
  /** @internal */
  readonly settings: SettingsFile;
  /** @internal */
  readonly network: Network;
  #deployment: Deployment;
  #introductions: Introductions;
  #trust: Trust;
  #services: ServiceProvider;
  #history: History;
  #successors: Successors;
  #closed = false;
  #left: Promise<void> | undefined;

  private constructor(
    home: Home,
    identity: Identity,
    network: Network,
    deployment: Deployment,
    settings: SettingsFile,
    trust: Trust,
  ) {
    super();
    this.id = identity.id;
    this.home = home;
    this.settings = settings;
    this.network = network;
    this.#deployment = deployment;
    this.#trust = trust;
    this.#history = new History(home.historyFile);
    this.#successors = new Successors({ own: identity.id, trust, settings, history: this.#history });
    this.#services = new ServiceProvider(trust, (record) => this.emit('stream', record));
    this.#introductions = new Introductions({
      identity,
      network,
      deployment,
      clock: systemClock,
      grantOf: (id) => trust.grantOf(id),
      isDenied: (id) => trust.isDenied(id),
      invites: trust.invites,
      onGuest: (guest, invite) => {
        trust.admit(guest, invite);
        this.emit('guest', guest);
      },
      mayReturn: () => trust.namesAnybody,
      predecessorOf: (id, successions) => trust.predecessorOf(id, successions),
      onSuccessor: (from, to) => {
        if (this.#successors.succeed(from, to)) this.emit('successor', from, to);
        if (!trust.grantOf(to)) throw new SallyportError('NOT_AUTHORIZED', DENIED);
      },
      onSession: (session) => this.#adopt(session),
    });
    deployment.on('registered', () => this.emit('registered'));
    deployment.on('unregistered', (why) => this.emit('unregistered', why));
    deployment.on('error', (error) => this.listenerCount('error') > 0 && this.emit('error', error));
    trust.on('unreadable', (why) => this.emit('allow-list', why));
    trust.on('outdated', (from, to) => this.emit('outdated', from, to));
    trust.on('looked', () => this.#enforce());
    trust.watch();
  }

  /**
   * Resolves once registered at the rendezvous.
   * @throws SallyportError `RENDEZVOUS_UNREACHABLE`, `TOKEN_INVALID`, `NOT_AUTHORIZED`, `ALREADY_REGISTERED`, `KEY_FILE_MODE`, …
   */
  static async start(options: PeerOptions = {}): Promise<Peer> {
    const peer = await Peer.open(options);
    try {
      await peer.whenRegistered();
      return peer;
    } catch (thrown) {
      await peer.close();
      throw thrown;
    }
  }

  /**
   * As `start`, but a peer that only dials needn't be registered yet: an offer that is made at once follows right behind what asks for the
   * registration, and saves its round trip. `whenRegistered` says how that ended.
   */
  static async open(options: PeerOptions = {}): Promise<Peer> {
    checkOptions(peerOptions, options);
    const home = new Home(options.home);
    const name = options.name === undefined ? undefined : parsePeerName(options.name);
    const identity = home.identity();
    const settings = new SettingsFile(home.settingsFile);
    // An allow list that can't be read is told of before anything is opened.
    const trust = new Trust(home, (options.allow ?? []).map(parseAllowRule), systemClock);
    const clock = systemClock;
    // Opened once the connection to the rendezvous is on its way, and while that answers.
    const network = Promise.resolve().then(() => Network.open(clock, { mapPorts: options.portMapping }));
    try {
      const { rendezvous, role, signal } = options;
      const joining = { identity, settings, network, clock, rendezvous, role, name, signal };
      const [opened, deployment] = await Promise.all([network, Deployment.join(joining)]);
      return new Peer(home, identity, opened, deployment, settings, trust);
    } catch (thrown) {
      const opened = await network.catch(() => undefined);
      await opened?.close();
      throw thrown;
    }
  }

  /** The rendezvous that this peer is registered at. */
  get rendezvous(): string {
    return this.#deployment.url;
  }

  /** @internal */
  get deployment(): Deployment {
    return this.#deployment;
  }

  get registered(): boolean {
    return this.#deployment.registered;
  }

  /** @throws SallyportError as `start` does */
  whenRegistered(): Promise<void> {
    return this.#deployment.whenRegistered();
  }

  /** Why the registration is lost for good, as told by `error`: for who listens to that later than it may have come. */
  get failure(): SallyportError | undefined {
    return this.#deployment.failure;
  }

  /** Neither is anybody on the allow list, nor is there an invite that somebody could use. */
  get allowsNobody(): boolean {
    return this.#trust.allowsNobody;
  }

  get sessions(): readonly Session[] {
    return this.#introductions.sessions;
  }

  /** What has been measured of the NATs in front of this peer. */
  get profile(): NatProfile {
    return this.network.profile;
  }

  /**
   * A service in this process: `handler` is given each stream that a peer opens to `name` from now on, instead of the one before.
   * @throws SallyportError `USAGE` where the name is exposed
   */
  handle(name: string, handler: ServiceHandler): void {
    checkOptions(handlerOptions, { name, handler });
    this.#services.handle(name, handler);
  }

  /** @internal A service that gives way to whatever is handled or exposed under its name. */
  handleByDefault(name: string, handler: ServiceHandler): void {
    this.#services.handleByDefault(name, handler);
  }

  /**
   * A service that dials `target` (`host:port`, `host:port/udp`, `/path/of.sock`) for each stream that a peer opens to `name`.
   * @throws SallyportError `USAGE` also where the name stands for another such target, or is handled
   */
  expose(name: string, target: string): void {
    checkOptions(exposeOptions, { name, target });
    this.#services.expose(parseExposure(`${name}=${target}`));
  }

  /** The same, or `any` target. @throws SallyportError like `expose` */
  addExposure(exposure: Exposure): void {
    checkOptions(exposureOptions, { exposure });
    this.#services.expose(exposure);
  }

  /** Lets allowed peers have this one listen. */
  permitListen(permit: ListenPermit): void {
    checkOptions(permitOptions, { permit });
    this.#services.permits.push(permit);
  }

  /**
   * Who is allowed beside the file, what is exposed and where may be listened, from now on; streams that are still allowed go on.
   * @throws SallyportError `USAGE` also where a name would stand for two things, or is handled: nothing has changed then
   */
  reconfigure(anew: Reconfiguration): void {
    checkOptions(reconfiguration, anew);
    const { allow, exposures, permits } = anew;
    const rules = allow.map(parseAllowRule);
    this.#services.exposeOnly(exposures);
    this.#services.permits = [...permits];
    this.#trust.setOptions(rules);
  }

  /** `take` gives the process's own pipe out to one stream at a time; `undefined` while it is in use. */
  offerPipe(take: () => Duplex | undefined): void {
    checkOptions(pipeOptions, { take });
    this.#services.pipe = take;
  }

  /**
   * Opens a session with a peer; resolves when it is usable, on whatever path is first.
   * @param to a PeerId, or a name that the peer registered
   * @throws SallyportError `PEER_OFFLINE`, `NOT_AUTHORIZED`, `NO_PATH`, `HANDSHAKE_FAILED`, `NAME_UNPINNED`, `IDENTITY_CHANGED`, `ABORTED`, …
   */
  async connect(to: string, options: ConnectOptions = {}): Promise<Session> {
    checkOptions(callOptions, { to, options });
    const { paths = ALL_PATHS } = options;
    return this.#towards(to, options, (id, signal) => this.#initiate(id, pathTerms(paths), signal));
  }

  /**
   * What `connect` would try with that peer, from both ends' measured NATs. The peer has to allow us; nothing is sent
   * to it but an offer by way of the rendezvous, and no session begins.
   * @throws SallyportError like `connect`
   */
  async plan(to: string, options: ConnectOptions = {}): Promise<Prospect> {
    checkOptions(callOptions, { to, options });
    const { paths = ALL_PATHS } = options;
    const { kinds } = pathTerms(paths);
    const planWith = async (id: PeerId, signal?: AbortSignal) => {
      const met = await this.#introductions.plan(id, kinds, signal);
      const { here, there } = met;
      const last = this.#history.last({ peer: id, here: here.profile, there: there.profile });
      return prospectOf(id, met, last);
    };
    return this.#towards(to, options, (known, signal) =>
      this.#successors.follow(known, (id) => planWith(id, signal)),
    );
  }

  /**
   * An invite for one guest, good for ten minutes, as text that is handed over by some other way. Any process that
   * listens with this peer's key honours it.
   */
  invite(options: InviteOptions = {}): string {
    checkOptions(inviteOptions, options);
    const { url, id, token } = this.#deployment;
    return this.#trust.invites.create(this.id, { url, id, token }, options.services);
  }

  /**
   * Accepts an invite: opens a session with the inviter, in which each comes onto the other's allow list.
   * @throws SallyportError `NOT_AUTHORIZED` when it was used, has expired or never was; `URL_INVALID`; like `connect`
   */
  async accept(invite: string, options: AcceptOptions = {}): Promise<Session> {
    checkOptions(acceptOptions, { to: invite, options });
    const { paths = ALL_PATHS, signal, services = [] } = options;
    const { inviter, secret } = parseInvite(invite);
    allowRuleText(inviter, services);
    const terms = { ...pathTerms(paths), inviteSecret: secret };
    const initiating = this.#towards(inviter, { signal }, (id) => this.#initiate(id, terms, signal));
    const session = await initiating.catch((thrown: unknown) => {
      throw inviteRefusal(thrown);
    });
    try {
      // Only with an answer in the session is it certain that nobody else was faster with the same invite.
      await session.ping({ signal }).catch(() => session.ping({ signal }));
      if (session.driver.isClosing)
        throw new SallyportError('SESSION_CLOSED', 'the session was closed at once');
    } catch (thrown) {
      const { code, message, remote } = await session.driver.close();
      throw inviteRefusal(remote && code ? remoteFailure(code, message) : thrown);
    }
    this.#trust.welcome(session.peer, services);
    return session;
  }

  /** Closes its sessions, and ends the registration; `signal` is for `Session.close`, also that of a later call. */
  async close(options: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    checkOptions(waitingOptions, options);
    this.#closed = true;
    this.#trust.close();
    this.#introductions.beginNoMore();
    await Promise.all(this.sessions.map((session) => session.close(options)));
    this.#left ??= this.#leave();
    await this.#left;
  }

  async #leave(): Promise<void> {
    this.#introductions.close();
    this.#deployment.close();
    await this.network.close();
  }

  /** Acts with a peer, who may be given by a name. */
  async #towards<Result>(
    to: string,
    { acceptName = false, signal }: ConnectOptions,
    act: (id: PeerId, signal?: AbortSignal) => Promise<Result>,
  ): Promise<Result> {
    if (this.#closed) throw peerClosed();
    const actWithOther = (id: PeerId, either?: AbortSignal) => {
      if (id === this.id) throw oneself();
      return act(id, either);
    };
    if (isPeerId(to)) return actWithOther(to, signal);
    const naming = { name: to, acceptName, deployment: this.#deployment, settings: this.settings, signal };
    return withNamed(naming, actWithOther);
  }

  /** Opens a session with a peer, which may be up under another id than the one that is known here. */
  async #initiate(to: PeerId, terms: OfferTerms, signal?: AbortSignal): Promise<Session> {
    const session = await this.#successors.follow(to, (id) =>
      this.#introductions.initiate(id, terms, signal),
    );
    if (session.peer === to) return session;
    try {
      this.#successors.succeed(to, session.peer);
    } catch (thrown) {
      const { code, message } = asSallyportError(thrown);
      session.driver.destroy(code, message);
      throw thrown;
    }
    this.emit('successor', to, session.peer);
    return session;
  }

  #adopt(session: Session): void {
    session.on('stream', (stream, purpose) => this.#services.serve(session, stream, purpose));
    // Whoever offers sessions may want to plan them.
    if (session.role === 'initiator') rememberSuccess(session, this.network, this.#history);
    this.emit('session', session);
  }

  /** What the allow list no longer allows ends: sessions that the peer opened, all with one that is denied, and any stream of its. */
  #enforce(): void {
    for (const { peer, role, driver } of this.#introductions.admitted) {
      const mayCall = role === 'initiator' || this.#trust.grantOf(peer) !== undefined;
      if (!mayCall || this.#trust.isDenied(peer)) driver.destroy('NOT_AUTHORIZED', DENIED);
    }
    this.#services.enforce();
  }
}

/** Of an invite the peer says no more than that it doesn't let this one in; to be put on its allow list would help as well, but a new invite is meant. */
function inviteRefusal(thrown: unknown): unknown {
  if (asSallyportError(thrown).code !== 'NOT_AUTHORIZED') return thrown;
  return new SallyportError('NOT_AUTHORIZED', 'the invite was used, has expired or never was', {
    hint: 'there, for a new one: peer invite',
    cause: thrown,
  });
}
