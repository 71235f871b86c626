import { timingSafeEqual } from 'node:crypto';
import type { PeerId } from '../src/core/identity.ts';
import { LIMITS } from '../src/core/limits.ts';
import type { Instant } from '../src/core/machine.ts';
import type { Registration } from './registrations.ts';

/** How long a node whose connection was closed may take to come back before its partners hear that it is gone. */
const RETURN_MS = 10_000;

/** As much of a registration as its end is told by. */
type Departed = Pick<Registration, 'id' | 'idBytes' | 'key' | 'instance' | 'boot' | 'role'>;

/** What the same registration has back when it returns. */
type Kept = Pick<Registration, 'secret' | 'recent' | 'acquaintances'>;

/** A departed instance and those who have to hear of its end. */
export interface Farewell {
  readonly departed: Departed;
  /** Keys of instances. */
  readonly contacts: ReadonlySet<string>;
}

interface Departure {
  readonly departed: Departed;
  /** With evidence: when it counts as gone. After mere silence: when it is forgotten. */
  readonly due: Instant;
  readonly evidence: boolean;
}

/**
 * Tells the partners of a session that the other end is gone for sure, on evidence only: its kernel closed the connection
 * and it did not return in time, or it came back as a new process. Silence is not evidence (docs/protocol.md, "Signalling").
 */
export class Departures {
  /** Who exchanged an offer or answer with whom, by instance key, both ways. */
  readonly #contacts = new Map<string, Set<string>>();
  readonly #departures = new Map<string, Departure>();
  /** Of those, the listeners, whose places others may take: by their ids. */
  readonly #listeners = new Map<PeerId, Set<Departed>>();
  /** Of those that left last, the last of them at the end. */
  readonly #kept = new Map<string, Kept>();

  introduce(a: Registration, b: Registration): void {
    this.#addContact(a.key, b.key);
    this.#addContact(b.key, a.key);
  }

  leave(registration: Registration, evidence: boolean, now: Instant): void {
    const { id, idBytes, key, instance, boot, role } = registration;
    if (!this.#contacts.has(key)) return;
    this.#keep(registration);
    const departed = { id, idBytes, key, instance, boot, role };
    const due = now + (evidence ? RETURN_MS : LIMITS.resumeTimeoutMs);
    this.#forget(key); // and in again at the end, as the last to leave
    this.#departures.set(key, { departed, due, evidence });
    if (role === 'listen') this.#listeners.set(id, (this.#listeners.get(id) ?? new Set()).add(departed));
    if (this.#departures.size <= LIMITS.departures) return;
    const [oldest] = this.#departures.values();
    this.bury(oldest!.departed);
  }

  /** The node said good-bye, nothing is left to wait for. */
  bury(departed: Departed): Farewell {
    const contacts = this.#contacts.get(departed.key) ?? new Set();
    for (const contact of contacts) this.#contacts.get(contact)?.delete(departed.key);
    this.#contacts.delete(departed.key);
    this.#forget(departed.key);
    this.#kept.delete(departed.key);
    return { departed, contacts };
  }

  /** What `arrived` proves about earlier departures: the same process is back, or a new one stands in its place. */
  arrive(arrived: Registration): Farewell[] {
    const farewells: Farewell[] = [];
    const replaced = new Set(arrived.role === 'listen' ? this.#listeners.get(arrived.id) : []);
    const same = this.#departures.get(arrived.key)?.departed;
    for (const departed of same ? replaced.add(same) : replaced) {
      if (departed.boot !== arrived.boot) farewells.push(this.bury(departed));
    }
    this.#forget(arrived.key);
    this.#kept.delete(arrived.key);
    return farewells;
  }

  /** Of the same registration, before its connection ended. */
  keptOf({ key, secret }: Registration): Kept | undefined {
    const kept = this.#kept.get(key);
    return kept && timingSafeEqual(kept.secret, secret) ? kept : undefined;
  }

  due(now: Instant): Farewell[] {
    const farewells: Farewell[] = [];
    for (const { recent } of this.#kept.values()) recent.forget(now);
    for (const { departed, due, evidence } of this.#departures.values()) {
      if (due > now) continue;
      const farewell = this.bury(departed);
      if (evidence) farewells.push(farewell);
    }
    return farewells;
  }

  get pending(): boolean {
    return this.#departures.size > 0;
  }

  #keep({ key, secret, recent, acquaintances }: Registration): void {
    this.#kept.delete(key);
    this.#kept.set(key, { secret, recent, acquaintances });
    if (this.#kept.size <= LIMITS.keptDepartures) return;
    const [oldest] = this.#kept.keys();
    this.#kept.delete(oldest!);
  }

  #forget(key: string): void {
    const departed = this.#departures.get(key)?.departed;
    if (!departed) return;
    this.#departures.delete(key);
    const listeners = this.#listeners.get(departed.id);
    listeners?.delete(departed);
    if (listeners?.size === 0) this.#listeners.delete(departed.id);
  }

  #addContact(of: string, contact: string): void {
    const contacts = this.#contacts.get(of) ?? new Set();
    contacts.delete(contact);
    contacts.add(contact);
    if (contacts.size > LIMITS.contactsPerInstance) {
      const [oldest] = contacts;
      contacts.delete(oldest!);
    }
    this.#contacts.set(of, contacts);
  }
}
