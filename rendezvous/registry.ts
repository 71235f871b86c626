import { createHmac } from 'node:crypto';
import { sourceOf } from '../src/core/address.ts';
import { SallyportError, asSallyportError } from '../src/core/errors.ts';
import { publicKeyOf } from '../src/core/identity.ts';
import { LIMITS } from '../src/core/limits.ts';
import type { Instant, Machine } from '../src/core/machine.ts';
import type { MessageTo, ToNode, ToRendezvous } from '../src/core/protocol/rendezvous.ts';
import { RateLimiter, TokenBucket } from '../src/core/token-bucket.ts';
import { admit, challenge } from './admission.ts';
import { Departures, type Farewell } from './departures.ts';
import { Introductions } from './introductions.ts';
import { registrationOf, Registrations, type Registration } from './registrations.ts';
import type {
  Arrival,
  ConnectionId,
  RegistryInput,
  RegistryOptions,
  RegistryOutput,
} from './registry-events.ts';
import { withOwnStun } from './relay-stun.ts';
import { relaysInOrder } from './ticket-office.ts';

type Hello = MessageTo<ToRendezvous, 'hello'>;

/** Where a connection stands between its first byte and its registration. */
type Client =
  | { readonly state: 'silent'; readonly arrival: Arrival; readonly due: Instant }
  | {
      readonly state: 'challenged';
      readonly arrival: Arrival;
      readonly due: Instant;
      readonly hello: Hello;
      readonly nonce: Uint8Array;
    }
  /** Admitted, while the peer's other listener is asked whether it is still there. */
  | {
      readonly state: 'contending';
      readonly arrival: Arrival;
      readonly due: Instant;
      readonly wanted: Registration;
      readonly rival: Registration;
    }
  | { readonly state: 'registered'; readonly arrival: Arrival; readonly registration: Registration };

type Contender = Extract<Client, { state: 'contending' }>;

/** Leases, handshakes and departures are looked at this often; none of them is shorter than five seconds. */
const SWEEP_MS = 1_000;
const MESSAGE_RATE = { perSecond: LIMITS.messagesPerSecond, burst: LIMITS.messagesBurst };
const ADDRESS_RATE = { perSecond: LIMITS.addressMessagesPerSecond, burst: LIMITS.addressMessagesBurst };
const ANNOUNCEMENTS = {
  perSecond: 1_000 / LIMITS.relayAnnouncementEveryMs,
  burst: LIMITS.relayAnnouncementsBurst,
};
const DRAIN_MIN_MS = 250;
const DRAIN_SPREAD_MS = 4_750;

/** The rendezvous without its sockets: admission, leases, introductions, and who has to hear that somebody left. */
export class Registry implements Machine<RegistryInput, RegistryOutput> {
  readonly registrations = new Registrations();
  readonly #options: RegistryOptions;
  readonly #stunSecret: Uint8Array;
  readonly #clients = new Map<ConnectionId, Client>();
  readonly #departures = new Departures();
  readonly #introductions: Introductions;
  readonly #messages = new RateLimiter(MESSAGE_RATE);
  /** Instances cost nothing, and one host has any number of them. */
  readonly #addressMessages = new RateLimiter(ADDRESS_RATE);
  readonly #outputs: RegistryOutput[] = [];
  /** One relay that comes and goes costs as many messages as there are registrations. */
  readonly #announcements = new TokenBucket(ANNOUNCEMENTS.perSecond, ANNOUNCEMENTS.burst, 0);
  /** The relays are others than was announced. */
  #relaysChanged = false;
  #nextSweep: Instant | undefined;

  constructor(options: RegistryOptions) {
    this.#options = options;
    this.#stunSecret = createHmac('sha256', options.deployment.secretKey).update('sallyport/1 stun').digest();
    this.#introductions = new Introductions({
      deployment: options.deployment,
      registrations: this.registrations,
      relays: () => this.#relays(),
      sourceOf: (registration) => this.#sourceOf(registration),
      introduced: (a, b) => this.#departures.introduce(a, b),
      reply: (registration, message) => this.#send(registration.connection, message),
      passOn: (registration, message, now) => {
        registration.recent.add(message, now);
        this.#send(registration.connection, message);
      },
    });
  }

  get deadline(): Instant | undefined {
    return this.#nextSweep;
  }

  handle(input: RegistryInput, now: Instant): void {
    switch (input.type) {
      case 'connected':
        this.#clients.set(input.connection, {
          state: 'silent',
          arrival: input.arrival,
          due: now + LIMITS.handshakeStepMs,
        });
        break;
      case 'message':
        this.#receive(input.connection, input.message, now);
        break;
      case 'alive':
        this.#rejectContenders(input.connection, now);
        break;
      case 'disconnected':
        this.#depart(input.connection, true, now);
        break;
      case 'abandoned':
      case 'rejected':
        this.#depart(input.connection, false, now);
        break;
      case 'drain':
        this.#drain();
        break;
    }
    this.#schedule(now);
  }

  handleTimeout(now: Instant): void {
    for (const [connection, client] of this.#clients) this.#expire(connection, client, now);
    for (const farewell of this.#departures.due(now)) this.#tell(farewell);
    this.registrations.forgetNames(now);
    if (this.#relaysChanged) this.#announceRelays(now);
    this.#nextSweep = undefined;
    this.#schedule(now);
  }

  poll(): RegistryOutput | undefined {
    return this.#outputs.shift();
  }

  #schedule(now: Instant): void {
    if (this.#clients.size === 0 && !this.#departures.pending) this.#nextSweep = undefined;
    else this.#nextSweep ??= now + SWEEP_MS;
  }

  #expire(connection: ConnectionId, client: Client, now: Instant): void {
    switch (client.state) {
      case 'silent':
      case 'challenged':
        if (client.due <= now)
          this.#fail(connection, new SallyportError('TIMEOUT', 'not registered in time'), now);
        break;
      case 'contending':
        if (client.due <= now) this.#succeed(connection, client, now);
        break;
      case 'registered':
        client.registration.recent.forget(now);
        if (client.registration.leaseEnds <= now) this.#close(connection, undefined, now);
        break;
    }
  }

  #receive(connection: ConnectionId, message: ToRendezvous, now: Instant): void {
    const client = this.#clients.get(connection);
    if (!client) return; // closed by us while this was on its way
    try {
      if (client.state === 'registered') this.#serve(client.registration, message, now);
      else if (client.state === 'silent' && message.t === 'hello')
        this.#greet(connection, client, message, now);
      else if (client.state === 'challenged' && message.t === 'auth') {
        admit(client.hello, client.nonce, message, client.arrival, this.#options);
        this.#enter(connection, client, message.secret, now);
      } else throw new SallyportError('PROTOCOL_ERROR', `${message.t} came out of turn`);
    } catch (thrown) {
      this.#fail(connection, asSallyportError(thrown), now);
    }
  }

  #greet(connection: ConnectionId, { arrival }: Client, hello: Hello, now: Instant): void {
    const message = challenge(hello, arrival, this.#options);
    const due = now + LIMITS.handshakeStepMs;
    this.#clients.set(connection, { state: 'challenged', arrival, due, hello, nonce: message.nonce });
    this.#send(connection, message);
  }

  /** The key is proven. */
  #enter(
    connection: ConnectionId,
    { arrival, hello }: Extract<Client, { state: 'challenged' }>,
    secret: Uint8Array,
    now: Instant,
  ): void {
    const honest = { ...hello, relay: withOwnStun(hello.relay, arrival.observed) };
    const wanted = registrationOf(honest, secret, connection, this.#stunSecret, now);
    this.#claim(connection, arrival, wanted, now);
  }

  /** Whether there is room, and whether another listener has to make way. */
  #claim(connection: ConnectionId, arrival: Arrival, wanted: Registration, now: Instant): void {
    this.registrations.check(wanted, now);
    if (wanted.role === 'relay') this.#checkRelays(wanted);
    const rival = wanted.role === 'listen' ? this.registrations.listener(wanted.id) : undefined;
    if (!rival || rival.key === wanted.key) {
      this.#register(connection, arrival, wanted, now);
      return;
    }
    const due = now + LIMITS.handshakeStepMs;
    this.#clients.set(connection, { state: 'contending', arrival, due, wanted, rival });
    this.#outputs.push({ type: 'probe', connection: rival.connection });
  }

  /** Its rival was silent, or has left. Much may have changed since it was asked: the rival may be back, or another be there. */
  #succeed(connection: ConnectionId, { arrival, wanted, rival }: Contender, now: Instant): void {
    if (this.registrations.listener(wanted.id) === rival) this.#close(rival.connection, undefined, now);
    try {
      this.#claim(connection, arrival, wanted, now);
    } catch (thrown) {
      this.#fail(connection, asSallyportError(thrown), now);
    }
  }

  #checkRelays(wanted: Registration): void {
    const others = this.#relays().filter(({ id }) => id !== wanted.id);
    if (others.length >= LIMITS.relaysPerDeployment) throw new SallyportError('LIMIT', 'too many relays');
  }

  #register(connection: ConnectionId, arrival: Arrival, registration: Registration, now: Instant): void {
    const standing = this.registrations.get(registration.key);
    const before = standing ?? this.#departures.keptOf(registration);
    if (standing) this.#close(standing.connection, undefined, now);
    registration.leaseEnds = now + LIMITS.registrationLeaseMs;
    this.registrations.add(registration);
    this.#clients.set(connection, { state: 'registered', arrival, registration });
    this.#send(connection, this.#welcome(registration, arrival, now));
    if (before) {
      registration.recent = before.recent;
      registration.acquaintances = before.acquaintances;
    }
    for (const message of registration.recent.since(now)) this.#send(connection, message);
    this.#outputs.push({ type: 'joined', id: registration.id, role: registration.role });
    for (const farewell of this.#departures.arrive(registration)) this.#tell(farewell);
    if (registration.role === 'relay') this.#announceRelays(now);
  }

  #welcome(registration: Registration, arrival: Arrival, now: Instant): ToNode {
    const { stun } = this.#options;
    return {
      t: 'registered',
      leaseMs: LIMITS.registrationLeaseMs,
      time: now,
      observed: arrival.observed,
      // Only the deployment's own: a relay knows no registrations, so it can't authenticate its answers.
      stun: { ...registration.stun, udp: stun.udp.slice(0, 8), tcp: stun.tcp.slice(0, 8) },
      relays: this.#relaysFor(registration),
    };
  }

  #serve(from: Registration, message: ToRendezvous, now: Instant): void {
    const isInTime =
      this.#messages.take(from.key, now) && this.#addressMessages.take(this.#sourceOf(from) ?? '', now);
    if (!isInTime) throw new SallyportError('RATE_LIMITED', 'too many messages');
    from.leaseEnds = now + LIMITS.registrationLeaseMs;
    switch (message.t) {
      case 'hello':
      case 'auth':
        throw new SallyportError('PROTOCOL_ERROR', `${message.t} came out of turn`);
      case 'ping':
        this.#send(from.connection, { t: 'pong', sent: message.sent, time: now });
        break;
      case 'bye':
        this.#leave(from, now);
        break;
      case 'offer':
      case 'answer':
      case 'refuse':
      case 'trickle':
      case 'renew':
      case 'resolve':
        this.#introductions.serve(from, message, now);
        break;
    }
  }

  #sourceOf({ connection }: Registration): string | undefined {
    const observed = this.#clients.get(connection)?.arrival.observed;
    return observed && sourceOf(observed.address);
  }

  #leave(registration: Registration, now: Instant): void {
    this.#close(registration.connection, undefined, now);
    this.#tell(this.#departures.bury(registration));
    this.#admitContenders(registration, now);
  }

  #rejectContenders(rival: ConnectionId, now: Instant): void {
    for (const [connection, client] of this.#clients) {
      if (client.state !== 'contending' || client.rival.connection !== rival) continue;
      const message = 'this peer is already up in another process';
      this.#fail(connection, new SallyportError('ALREADY_REGISTERED', message), now);
    }
  }

  #admitContenders(rival: Registration, now: Instant): void {
    for (const [connection, client] of this.#clients) {
      if (client.state !== 'contending' || client.rival !== rival) continue;
      this.#succeed(connection, client, now);
      return; // further ones stay: their `due` finds a listener that answers, or none
    }
  }

  #fail(connection: ConnectionId, error: SallyportError, now: Instant): void {
    this.#send(connection, { t: 'error', code: error.code, message: error.message.slice(0, 300) });
    this.#close(connection, error, now);
  }

  /** Closes from our side: no evidence that the node is gone. */
  #close(connection: ConnectionId, error: SallyportError | undefined, now: Instant): void {
    this.#outputs.push(error ? { type: 'close', connection, error } : { type: 'close', connection });
    this.#depart(connection, false, now);
  }

  #depart(connection: ConnectionId, evidence: boolean, now: Instant): void {
    const client = this.#clients.get(connection);
    this.#clients.delete(connection);
    if (client?.state !== 'registered') return;
    const { registration } = client;
    this.registrations.remove(registration, now);
    this.#departures.leave(registration, evidence, now);
    this.#outputs.push({ type: 'left', id: registration.id, role: registration.role });
    if (registration.role === 'relay') this.#announceRelays(now);
    if (evidence) this.#admitContenders(registration, now);
  }

  #tell({ departed, contacts }: Farewell): void {
    for (const contact of contacts) {
      const registration = this.registrations.get(contact);
      if (!registration) continue;
      this.#send(registration.connection, { t: 'gone', from: departed.idBytes, instance: departed.instance });
    }
  }

  #relays() {
    const registered = this.registrations.relays().map(({ id, relay }) => ({ id, ...relay! }));
    return this.#options.builtInRelay ? [this.#options.builtInRelay, ...registered] : registered;
  }

  /** No more than a node takes: one longer list would end every registration. */
  #relaysFor(registration: Registration) {
    const ordered = relaysInOrder(this.#relays(), registration.id).slice(0, LIMITS.relaysPerDeployment);
    return ordered.map(({ id, url, stunUdp: stun }) => ({
      id: publicKeyOf(id),
      url,
      ...(stun.length > 0 && { stun: [...stun] }),
    }));
  }

  /** Now, or with what else will have changed by then, at a sweep. */
  #announceRelays(now: Instant): void {
    this.#relaysChanged = !this.#announcements.take(now);
    if (this.#relaysChanged) return;
    for (const registration of this.registrations.all()) {
      if (registration.role === 'relay') continue;
      this.#send(registration.connection, { t: 'relays', relays: this.#relaysFor(registration) });
    }
  }

  #drain(): void {
    for (const connection of this.#clients.keys()) {
      const spread = Buffer.from(this.#options.random(4)).readUInt32BE() / 2 ** 32;
      const reconnectInMs = Math.round(DRAIN_MIN_MS + spread * DRAIN_SPREAD_MS);
      this.#send(connection, { t: 'restarting', reconnectInMs });
    }
  }

  #send(connection: ConnectionId, message: ToNode): void {
    this.#outputs.push({ type: 'send', connection, message });
  }
}
