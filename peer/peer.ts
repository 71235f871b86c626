import { EventEmitter } from 'node:events';
import type { Duplex } from 'node:stream';
import { isPeerId, type Identity, type PeerId } from '../src/core/identity.ts';
import { asSallyportError, SallyportError } from '../src/core/errors.ts';
import { parseInvite } from '../src/core/invite.ts';
import type { StreamPurpose } from '../src/core/protocol/open.ts';
import type { PathChoice } from '../src/core/punch/situation.ts';
import type { NatProfile } from '../src/core/nat/behavior.ts';
import { systemClock, type Clock } from '../src/net/clock.ts';
import { LIMITS } from '../src/core/limits.ts';
import type { SessionStream } from '../src/net/session-stream.ts';
import { allowListOf, AllowFile, parseAllowRule, type AllowList, type AllowRule } from './allow-list.ts';
import { authorize, parseExposure, type Destination, type Exposure } from './exposure.ts';
import { Home } from './home.ts';
import { Deployment } from './deployment.ts';
import { Introductions } from './introductions.ts';
import { InviteFolder, type OpenInvite } from './invite-folder.ts';
import type { ListenPermit, ListenRequest } from './listen-permit.ts';
import { Network } from './network.ts';
import { prospectOf, type Prospect } from './prospect.ts';
import type { Session } from './session.ts';
import type { Listening } from './services/forward.ts';
import { listenFor } from './services/reverse.ts';
import { serveStream, type StreamRecord } from './services/serve.ts';
import { SettingsFile } from './settings.ts';

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
  paths?: readonly PathChoice[] | undefined;
  signal?: AbortSignal | undefined;
  /** Trust a name that wasn't met before to belong to the peer that the rendezvous names. */
  acceptName?: boolean | undefined;
}

export interface InviteOptions {
  /** What the guest may reach; all that is exposed where nothing is named. */
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
  /** The allow list can't be read any more, and so allows nobody. */
  'allow-list': [why: SallyportError];
  /** The registration is lost for good; sessions that are direct go on. */
  error: [error: SallyportError];
}

export type ServiceHandler = (stream: SessionStream, session: Session) => void;

/** How often the allow list is looked at: `peer deny` takes effect within a second. */
const DENIED = 'this peer is no longer allowed';
const ALLOW_FILE_MS = 500;

/** One of two computers that want to meet: its identity, its network, whom it trusts, its sessions. */
export class Peer extends EventEmitter<PeerEvents> {
  readonly id: PeerId;
  readonly home: Home;
  readonly settings: SettingsFile;
  readonly network: Network;
  #deployment: Deployment;
  #introductions: Introductions;
  #allowFile: AllowFile;
  #invites: InviteFolder;
  #extraRules: readonly AllowRule[];
  /** Who the allow file denied when it could be read last. */
  #denials: readonly AllowRule[] = [];
  #allowList: AllowList;
  #exposures: Exposure[] = [];
  #permits: ListenPermit[] = [];
  /** How many listeners each peer has us keep. */
  #listeners = new Map<PeerId, number>();
  #handlers = new Map<string, ServiceHandler>();
  #pipe: (() => Duplex | undefined) | undefined;
  #clock: Clock;
  /** What each live stream was allowed by, to be asked again when the allow list changes. */
  #served = new Map<SessionStream, () => void>();
  #cancelWatch: (() => void) | undefined;
  #allowFileError: string | undefined;
  #closed = false;

  private constructor(
    home: Home,
    identity: Identity,
    network: Network,
    deployment: Deployment,
    settings: SettingsFile,
    rules: readonly AllowRule[],
    clock: Clock,
  ) {
    super();
    this.id = identity.id;
    this.home = home;
    this.settings = settings;
    this.network = network;
    this.#clock = clock;
    this.#deployment = deployment;
    this.#allowFile = new AllowFile(home.allowFile);
    this.#invites = new InviteFolder(home.invitesFolder, this.#allowFile);
    this.#extraRules = rules;
    this.#allowList = this.#readAllowList();
    this.#introductions = new Introductions({
      identity,
      network,
      deployment,
      clock,
      grantOf: (id) => this.#allowList.grantOf(id),
      isDenied: (id) => this.#allowList.isDenied(id),
      invites: this.#invites,
      onGuest: (guest, invite) => this.#admit(guest, invite),
      onSession: (session) => this.#adopt(session),
    });
    deployment.on('registered', () => this.emit('registered'));
    deployment.on('unregistered', (why) => this.emit('unregistered', why));
    deployment.on('error', (error) => this.listenerCount('error') > 0 && this.emit('error', error));
    this.#watchAllowFile();
  }

  /**
   * Resolves once registered at the rendezvous.
   * @throws SallyportError `RENDEZVOUS_UNREACHABLE`, `TOKEN_INVALID`, `NOT_AUTHORIZED`, `ALREADY_REGISTERED`, `KEY_FILE_MODE`, …
   */
  static async start(options: PeerOptions = {}): Promise<Peer> {
    const home = new Home(options.home);
    const identity = home.identity();
    const settings = new SettingsFile(home.settingsFile);
    new AllowFile(home.allowFile).rules(); // one that can't be read is told of before anything is opened
    const rules = (options.allow ?? []).map(parseAllowRule);
    const clock = systemClock;
    // Opened once the connection to the rendezvous is on its way, and while that answers.
    const network = Promise.resolve().then(() => Network.open(clock, { mapPorts: options.portMapping }));
    try {
      const { rendezvous, role, name, signal } = options;
      const joining = { identity, settings, network, clock, rendezvous, role, name, signal };
      const [opened, deployment] = await Promise.all([network, Deployment.join(joining)]);
      return new Peer(home, identity, opened, deployment, settings, rules, clock);
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

  get deployment(): Deployment {
    return this.#deployment;
  }

  get registered(): boolean {
    return this.#deployment.registered;
  }

  get sessions(): readonly Session[] {
    return this.#introductions.sessions;
  }

  /** What has been measured of the NATs in front of this peer. */
  get profile(): NatProfile {
    return this.network.profile;
  }

  /** A service in this process: `handler` is given each stream that a peer opens to `name`. */
  handle(name: string, handler: ServiceHandler): void {
    this.#handlers.set(name, handler);
  }

  /** A service that dials `target` (`host:port`, `host:port/udp`, `/path/of.sock`) for each stream that a peer opens to `name`. */
  expose(name: string, target: string): void {
    this.addExposure(parseExposure(`${name}=${target}`));
  }

  /** @see parseExposure */
  addExposure(exposure: Exposure): void {
    this.#exposures.push(exposure);
  }

  /** Lets allowed peers have this one listen. @see parsePermit */
  permitListen(permit: ListenPermit): void {
    this.#permits.push(permit);
  }

  /** Who is allowed beside the file, what is exposed and where may be listened, from now on; streams that are still allowed go on. */
  reconfigure({ allow, exposures, permits }: Reconfiguration): void {
    this.#extraRules = allow.map(parseAllowRule);
    this.#exposures = [...exposures];
    this.#permits = [...permits];
    this.#allowList = this.#readAllowList();
    this.#enforce();
  }

  /** `take` gives the process's own pipe out to one stream at a time; `undefined` while it is in use. */
  offerPipe(take: () => Duplex | undefined): void {
    this.#pipe = take;
  }

  /**
   * Opens a session with a peer; resolves when it is usable, on whatever path is first.
   * @param to a PeerId, or a name that the peer registered
   * @throws SallyportError `PEER_OFFLINE`, `NOT_AUTHORIZED`, `NO_PATH`, `HANDSHAKE_FAILED`, `NAME_UNPINNED`, `IDENTITY_CHANGED`, `ABORTED`, …
   */
  async connect(
    to: string,
    { paths = ['udp', 'tcp', 'relay'], signal, acceptName = false }: ConnectOptions = {},
  ): Promise<Session> {
    return this.#introductions.initiate(await this.#idOf(to, acceptName), { kinds: paths }, signal);
  }

  /**
   * What `connect` would try with that peer, from both ends' measured NATs. The peer has to allow us; nothing is sent
   * to it but an offer by way of the rendezvous, and no session begins.
   * @throws SallyportError like `connect`
   */
  async plan(
    to: string,
    { paths = ['udp', 'tcp', 'relay'], signal, acceptName = false }: ConnectOptions = {},
  ): Promise<Prospect> {
    const id = await this.#idOf(to, acceptName);
    return prospectOf(id, await this.#introductions.plan(id, paths, signal));
  }

  /**
   * An invite for one guest, good for ten minutes, as text that is handed over by some other way. Any process that
   * listens with this peer's key honours it.
   */
  invite({ services }: InviteOptions = {}): string {
    const { url, id, token } = this.#deployment;
    return this.#invites.create(this.id, { url, id, token }, services);
  }

  /**
   * Accepts an invite: opens a session with the inviter, in which each comes onto the other's allow list.
   * @throws SallyportError `NOT_AUTHORIZED` when it was used, has expired or never was; `URL_INVALID`; like `connect`
   */
  async accept(
    invite: string,
    { paths = ['udp', 'tcp', 'relay'], signal }: ConnectOptions = {},
  ): Promise<Session> {
    const { inviter, secret } = parseInvite(invite);
    const id = await this.#idOf(inviter, false);
    const session = await this.#introductions.initiate(id, { kinds: paths, inviteSecret: secret }, signal);
    try {
      // Only with an answer in the session is it certain that nobody else was faster with the same invite.
      await session.ping().catch(() => session.ping());
    } catch (thrown) {
      await session.close();
      throw thrown;
    }
    if (!this.#allowFile.rules().some(({ id }) => id === inviter)) this.#allowFile.allow(inviter);
    this.#allowList = this.#readAllowList();
    return session;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#cancelWatch?.();
    await Promise.all(this.sessions.map((session) => session.close()));
    this.#introductions.close();
    this.#deployment.close();
    await this.network.close();
  }

  async #idOf(to: string, acceptName: boolean): Promise<PeerId> {
    if (this.#closed) throw new SallyportError('SESSION_CLOSED', 'this peer was closed');
    const id = isPeerId(to) ? to : await this.#resolve(to, acceptName);
    if (id === this.id) {
      throw new SallyportError('USAGE', 'that is the id of this very peer', { hint: "give the other one's" });
    }
    return id;
  }

  /** A name is resolved once and pinned (docs/threat-model.md). */
  async #resolve(name: string, accept: boolean): Promise<PeerId> {
    const pinned = this.settings.pinnedName(name);
    const id = await this.#deployment.resolve(name);
    if (id === undefined && pinned === undefined)
      throw new SallyportError('PEER_OFFLINE', `nobody is registered as ${JSON.stringify(name)}`);
    if (pinned !== undefined && id !== undefined && id !== pinned) {
      throw new SallyportError(
        'IDENTITY_CHANGED',
        `${name} was ${pinned}, and the rendezvous now names ${id}`,
        {
          hint: 'connect by id if you know that it has changed',
        },
      );
    }
    if (pinned !== undefined) return pinned;
    if (!accept) {
      throw new SallyportError(
        'NAME_UNPINNED',
        `${name} is ${id!}, says the rendezvous; nobody confirmed it yet`,
        {
          hint: 'add --accept to trust it from now on, or connect by id',
        },
      );
    }
    this.settings.pinName(name, id!);
    return id!;
  }

  #adopt(session: Session): void {
    session.on('stream', (stream, purpose) => this.#serve(session, stream, purpose));
    this.emit('session', session);
  }

  #serve(session: Session, stream: SessionStream, purpose: StreamPurpose): void {
    const allow = (): Destination => {
      if (this.#allowList.isDenied(session.peer)) throw new SallyportError('NOT_AUTHORIZED', DENIED);
      const grant = this.#allowList.grantOf(session.peer);
      const offering = {
        exposures: this.#exposures,
        handlers: new Set(this.#handlers.keys()),
        pipe: this.#pipe !== undefined,
        permits: this.#permits,
        asked: session.asked,
      };
      return authorize(purpose, grant, offering);
    };
    this.#served.set(stream, allow);
    stream.once('close', () => this.#served.delete(stream));
    serveStream({
      stream,
      purpose,
      peer: session.peer,
      datagrams: session.datagrams,
      allow,
      handle: (name) => this.#handlers.get(name)?.(stream, session),
      pipe: () => this.#pipe?.(),
      listen: (request) => this.#listen(request, stream, session),
      record: (record) => this.emit('stream', record),
    });
  }

  async #listen(request: ListenRequest, stream: SessionStream, session: Session): Promise<Listening> {
    const { peer } = session;
    const count = this.#listeners.get(peer) ?? 0;
    if (count >= LIMITS.listenersPerPeer) {
      throw new SallyportError('LIMIT', `the other side listens for this peer in ${count} places already`);
    }
    this.#listeners.set(peer, count + 1);
    stream.once('close', () => {
      const left = this.#listeners.get(peer)! - 1;
      if (left > 0) this.#listeners.set(peer, left);
      else this.#listeners.delete(peer);
    });
    return listenFor(request, stream, session);
  }

  #admit(guest: PeerId, invite: OpenInvite): void {
    try {
      if (this.#readAllowList().isDenied(guest)) throw new SallyportError('NOT_AUTHORIZED', 'it was denied');
      invite.admit(guest);
    } catch (thrown) {
      const error = asSallyportError(thrown);
      if (error.code !== 'NOT_AUTHORIZED') this.#tellOfAllowFile(error);
      throw error;
    }
    this.#allowList = this.#readAllowList();
    this.emit('guest', guest);
  }

  #readAllowList(): AllowList {
    const rules = this.#allowFile.rules();
    this.#denials = rules.filter(({ grant }) => grant === 'none');
    return allowListOf([...rules, ...this.#extraRules]);
  }

  /** Once, however often it is looked at until it is mended. */
  #tellOfAllowFile(why: SallyportError): void {
    if (this.#allowFileError !== why.message) this.emit('allow-list', why);
    this.#allowFileError = why.message;
  }

  #watchAllowFile(): void {
    this.#cancelWatch = this.#clock.setTimer(() => {
      try {
        this.#allowList = this.#readAllowList();
        this.#allowFileError = undefined;
      } catch (thrown) {
        // A list that can't be read allows nobody beyond the options of this process, and denies whom it denied.
        this.#allowList = allowListOf([...this.#denials, ...this.#extraRules]);
        this.#tellOfAllowFile(asSallyportError(thrown));
      }
      this.#enforce();
      this.#watchAllowFile();
    }, ALLOW_FILE_MS);
  }

  /** What the allow list no longer allows ends: sessions that the peer opened, all with one that is denied, and any stream of its. */
  #enforce(): void {
    for (const { peer, role, driver } of this.#introductions.admitted) {
      const mayCall = role === 'initiator' || this.#allowList.grantOf(peer) !== undefined;
      if (!mayCall || this.#allowList.isDenied(peer)) driver.destroy('NOT_AUTHORIZED', DENIED);
    }
    for (const [stream, allow] of this.#served) {
      try {
        allow();
      } catch (thrown) {
        const { code, message } = asSallyportError(thrown);
        this.#served.delete(stream);
        stream.reset(code, message);
      }
    }
  }
}
