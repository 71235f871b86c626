import { createHmac, timingSafeEqual } from 'node:crypto';
import { base64url, hex, utf8 } from '../src/core/bytes.ts';
import type { Endpoint } from '../src/core/endpoint.ts';
import { SallyportError } from '../src/core/errors.ts';
import { peerIdOf, type PeerId } from '../src/core/identity.ts';
import { LIMITS } from '../src/core/limits.ts';
import type { Instant } from '../src/core/machine.ts';
import type { MessageTo, NodeRole, ToRendezvous } from '../src/core/protocol/rendezvous.ts';
import { readSuccessions, type Succession } from '../src/core/succession.ts';
import { RecentMessages } from './recent-messages.ts';
import type { ConnectionId } from './registry-events.ts';

/** A node that has proven its key, for as long as its lease runs. */
export interface Registration {
  readonly id: PeerId;
  readonly idBytes: Uint8Array;
  /** `id/instance`, the registration's own name. */
  readonly key: string;
  readonly instance: Uint8Array;
  /** Changes with each start of the process. */
  readonly boot: string;
  readonly secret: Uint8Array;
  readonly role: NodeRole;
  readonly name: string | undefined;
  /** A listener's: how it came from earlier ids, each step signed by the earlier one. */
  readonly successions: readonly Succession[];
  readonly relay: { url: string; stunUdp: Endpoint[]; stunTcp: Endpoint[] } | undefined;
  readonly connection: ConnectionId;
  /** USERNAME and key of its STUN requests; the same ones whenever this instance comes back. */
  readonly stun: { readonly username: string; readonly key: Uint8Array };
  leaseEnds: Instant;
  /** What others had passed on to it. */
  recent: RecentMessages;
  /** Whom it has made an offer to or answered, by its own will, the latest last: their offers don't compete with strangers'. */
  acquaintances: Set<PeerId>;
}

/** The one that was met longest ago makes room. */
export function acquaint({ acquaintances }: Registration, other: PeerId): void {
  acquaintances.delete(other);
  acquaintances.add(other);
  if (acquaintances.size <= LIMITS.contactsPerInstance) return;
  const [oldest] = acquaintances;
  acquaintances.delete(oldest!);
}

export function instanceKey(id: PeerId, instance: Uint8Array): string {
  return `${id}/${hex(instance)}`;
}

export function registrationOf(
  hello: MessageTo<ToRendezvous, 'hello'>,
  secret: Uint8Array,
  connection: ConnectionId,
  stunSecret: Uint8Array,
  now: Instant,
): Registration {
  const id = peerIdOf(hello.id);
  const key = instanceKey(id, hello.instance);
  return {
    id,
    idBytes: hello.id,
    key,
    instance: hello.instance,
    boot: hex(hello.boot),
    secret,
    role: hello.role,
    name: hello.name,
    successions: hello.role === 'listen' ? readSuccessions(hello.successions ?? new Uint8Array(), id) : [],
    relay: hello.relay,
    connection,
    stun: stunCredentials(key, stunSecret),
    leaseEnds: now + LIMITS.registrationLeaseMs,
    recent: new RecentMessages(),
    acquaintances: new Set(),
  };
}

/**
 * Who is registered, and under which names. A name belongs to its first listener and a lease longer than it, and to the
 * one that takes that listener's place.
 */
export class Registrations {
  readonly #byKey = new Map<string, Registration>();
  readonly #byId = new Map<PeerId, Set<Registration>>();
  readonly #byUsername = new Map<string, Registration>();
  /** Listeners by their earlier ids; the first one that came with such an id counts. */
  readonly #successors = new Map<PeerId, Registration>();
  readonly #relays = new Set<Registration>();
  readonly #names = new Map<string, PeerId>();
  /** Names whose listeners have left, the last of them at the end. */
  readonly #reserved = new Map<string, { readonly id: PeerId; readonly until: Instant }>();

  /** @throws SallyportError `NOT_AUTHORIZED`, `ALREADY_REGISTERED`, `LIMIT` when `wanted` can't be let in at all */
  check(wanted: Registration, now: Instant): void {
    const same = this.#byKey.get(wanted.key);
    if (same && !timingSafeEqual(same.secret, wanted.secret)) {
      throw new SallyportError('NOT_AUTHORIZED', 'another process holds this instance');
    }
    const holder = wanted.name === undefined ? undefined : this.nameHolder(wanted.name, now);
    const isOwn = holder === wanted.id || wanted.successions.some(({ from }) => from === holder);
    if (holder !== undefined && !isOwn) {
      throw new SallyportError('ALREADY_REGISTERED', `the name ${wanted.name} belongs to another peer`);
    }
    if (same) return;
    const instances = this.#byId.get(wanted.id)?.size ?? 0;
    if (instances >= LIMITS.instancesPerPeer) {
      throw new SallyportError('LIMIT', `${instances} processes are registered with this key already`);
    }
    if (this.#byKey.size >= LIMITS.registrations) throw new SallyportError('LIMIT', 'too many registrations');
  }

  add(registration: Registration): void {
    this.#byKey.set(registration.key, registration);
    this.#byUsername.set(registration.stun.username, registration);
    const instances = this.#byId.get(registration.id) ?? new Set();
    this.#byId.set(registration.id, instances.add(registration));
    for (const { from } of registration.successions) {
      if (!this.#successors.has(from)) this.#successors.set(from, registration);
    }
    if (registration.role === 'relay') this.#relays.add(registration);
    if (registration.role === 'listen' && registration.name !== undefined) {
      this.#names.set(registration.name, registration.id);
      this.#reserved.delete(registration.name);
    }
  }

  /** A listener's name stays reserved for one more lease. */
  remove(registration: Registration, now: Instant): void {
    this.#byKey.delete(registration.key);
    this.#byUsername.delete(registration.stun.username);
    const instances = this.#byId.get(registration.id);
    instances?.delete(registration);
    if (instances?.size === 0) this.#byId.delete(registration.id);
    for (const { from } of registration.successions) {
      if (this.#successors.get(from) === registration) this.#successors.delete(from);
    }
    this.#relays.delete(registration);
    const { role, name, id } = registration;
    if (role === 'listen' && name !== undefined && this.#names.get(name) === id) this.#reserve(name, id, now);
  }

  get(key: string): Registration | undefined {
    return this.#byKey.get(key);
  }

  /** The one instance of `id` that takes offers. */
  listener(id: PeerId): Registration | undefined {
    for (const registration of this.#byId.get(id) ?? []) {
      if (registration.role === 'listen') return registration;
    }
    return undefined;
  }

  /** The one that has taken the place of `id`. */
  successor(id: PeerId): Registration | undefined {
    return this.#successors.get(id);
  }

  /** Of each relay its newest registration. */
  relays(): Registration[] {
    const newest = new Map<PeerId, Registration>();
    for (const registration of this.#relays) newest.set(registration.id, registration);
    return [...newest.values()];
  }

  byStunUsername(username: string): Registration | undefined {
    return this.#byUsername.get(username);
  }

  nameHolder(name: string, now: Instant): PeerId | undefined {
    const reserved = this.#reserved.get(name);
    return this.#names.get(name) ?? (reserved && reserved.until > now ? reserved.id : undefined);
  }

  all(): IterableIterator<Registration> {
    return this.#byKey.values();
  }

  forgetNames(now: Instant): void {
    for (const [name, { until }] of this.#reserved) {
      if (until > now) return;
      this.#reserved.delete(name);
    }
  }

  #reserve(name: string, id: PeerId, now: Instant): void {
    this.#names.delete(name);
    this.#reserved.set(name, { id, until: now + LIMITS.registrationLeaseMs });
    if (this.#reserved.size <= LIMITS.reservedNames) return;
    const [oldest] = this.#reserved.keys();
    this.#reserved.delete(oldest!);
  }
}

function stunCredentials(key: string, secret: Uint8Array): Registration['stun'] {
  const derive = (label: string) =>
    new Uint8Array(createHmac('sha256', secret).update(`${label}\0`).update(utf8(key)).digest());
  return { username: base64url(derive('stun username').subarray(0, 12)), key: derive('stun key') };
}
