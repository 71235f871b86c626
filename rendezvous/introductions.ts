import { SallyportError, asSallyportError } from '../src/core/errors.ts';
import { peerIdOf, publicKeyOf, type Identity, type PeerId } from '../src/core/identity.ts';
import { LIMITS } from '../src/core/limits.ts';
import type { Instant } from '../src/core/machine.ts';
import { signOffer } from '../src/core/protocol/auth.ts';
import type { MessageTo, ToNode, ToRendezvous } from '../src/core/protocol/rendezvous.ts';
import { encodeSuccessions } from '../src/core/succession.ts';
import { RateLimiter } from '../src/core/token-bucket.ts';
import { acquaint, instanceKey, type Registration, type Registrations } from './registrations.ts';
import { TicketOffice, type CircuitParties } from './ticket-office.ts';

type Served = Exclude<ToRendezvous, { t: 'hello' | 'auth' | 'ping' | 'bye' }>;

export interface IntroductionOptions {
  readonly deployment: Identity;
  readonly registrations: Registrations;
  readonly relays: () => readonly { readonly id: PeerId }[];
  /** The network address that it is connected from, as far as addresses are told apart. */
  readonly sourceOf: (registration: Registration) => string | undefined;
  /** An offer or answer went from one to the other: each shall hear when the other is gone. */
  readonly introduced: (a: Registration, b: Registration) => void;
  /** To who asked. */
  readonly reply: (to: Registration, message: ToNode) => void;
  /** What another node has sent. */
  readonly passOn: (to: Registration, message: ToNode, now: Instant) => void;
}

/** Two peers may begin as many sessions at once as they may have. */
const OFFERS_PER_PAIR = { perSecond: 10, burst: LIMITS.sessionsPerPeer };
/** Once from all strangers, and once from all whom the callee has had to do with. */
const OFFERS_PER_CALLEE = { perSecond: 20, burst: 2 * LIMITS.sessionsPerPeer };
/** Of those, from one address: ids cost nothing, and one host has any number of them; a callee that allows any has soon had to do with them. */
const OFFERS_PER_SOURCE = { perSecond: 10, burst: LIMITS.sessionsPerPeer };
/** Answers, refusals and trickled boxes from one peer, whatever instances it has, to an instance of another: four for each session at least. */
const FORWARDED_PER_PAIR = { perSecond: 40, burst: 5 * LIMITS.sessionsPerPeer };
/** Names, and offers to whom isn't there: nobody shall find out by trying who is. */
const LOOKUPS = { perSecond: 10, burst: 30 };

/**
 * Passes offers, answers, refusals and trickled candidates between nodes without reading them, and adds what only
 * the rendezvous can: its word on the time, and the tickets of the relay circuit.
 */
export class Introductions {
  readonly #options: IntroductionOptions;
  readonly #tickets: TicketOffice;
  readonly #perPair = new RateLimiter(OFFERS_PER_PAIR);
  readonly #perCallee = new RateLimiter(OFFERS_PER_CALLEE);
  readonly #perSource = new RateLimiter(OFFERS_PER_SOURCE);
  readonly #forwarded = new RateLimiter(FORWARDED_PER_PAIR);
  readonly #lookups = new RateLimiter(LOOKUPS);

  constructor(options: IntroductionOptions) {
    this.#options = options;
    this.#tickets = new TicketOffice(options.deployment);
  }

  /** A failure is told to `from` alone, bound to the session or the name that it is about. */
  serve(from: Registration, message: Served, now: Instant): void {
    try {
      this.#serve(from, message, now);
    } catch (thrown) {
      const { code, message: text } = asSallyportError(thrown);
      const successor =
        message.t === 'offer' && code === 'PEER_OFFLINE' ? this.#successorOf(message) : undefined;
      this.#options.reply(from, {
        t: 'error',
        code,
        message: text,
        ...('session' in message ? { session: message.session } : { name: message.name }),
        ...(successor && { successor }),
      });
    }
  }

  #serve(from: Registration, message: Served, now: Instant): void {
    switch (message.t) {
      case 'offer':
        return this.#offer(from, message, now);
      case 'answer':
        return this.#answer(from, message, now);
      case 'refuse': {
        const { t, session, code } = message;
        const to = this.#instance(from, message, now);
        return this.#options.passOn(to, { t, session, code, from: from.idBytes }, now);
      }
      case 'trickle': {
        const { t, session, box } = message;
        const { idBytes, instance } = from;
        const to = this.#instance(from, message, now);
        return this.#options.passOn(to, { t, session, box, from: idBytes, instance }, now);
      }
      case 'renew':
        return this.#renew(from, message, now);
      case 'resolve':
        return this.#resolve(from, message.name, now);
    }
  }

  #offer(
    from: Registration,
    { session, to, instance, noise, tickets }: MessageTo<ToRendezvous, 'offer'>,
    now: Instant,
  ): void {
    const callee = this.#callee(from, to, instance, now);
    const { deployment } = this.#options;
    const parties = { session, initiator: from.id, responder: callee.id };
    acquaint(from, callee.id);
    this.#options.introduced(from, callee);
    const { idBytes, instance: fromInstance } = from;
    const signature = signOffer(deployment, from.id, session, noise, now);
    const theirs = this.#tickets.tickets(parties, 1, this.#options.relays(), now);
    this.#options.passOn(
      callee,
      {
        t: 'offer',
        session,
        from: idBytes,
        instance: fromInstance,
        noise,
        time: now,
        signature,
        tickets: theirs,
      },
      now,
    );
    if (tickets) this.#grant(from, parties, 0, now);
  }

  #answer(from: Registration, message: MessageTo<ToRendezvous, 'answer'>, now: Instant): void {
    const { t, session, noise } = message;
    const caller = this.#instance(from, message, now);
    const parties = { session, initiator: caller.id, responder: from.id };
    const tickets = this.#tickets.tickets(parties, 0, this.#options.relays(), now);
    acquaint(from, caller.id);
    this.#options.introduced(from, caller);
    const { idBytes, instance } = from;
    this.#options.passOn(caller, { t, session, noise, from: idBytes, instance, tickets }, now);
  }

  #renew(from: Registration, { session, peer, leg }: MessageTo<ToRendezvous, 'renew'>, now: Instant): void {
    const other = peerIdOf(peer);
    const [initiator, responder] = leg === 0 ? [from.id, other] : [other, from.id];
    this.#grant(from, { session, initiator, responder }, leg, now);
  }

  #grant(to: Registration, parties: CircuitParties, leg: 0 | 1, now: Instant): void {
    const tickets = this.#tickets.tickets(parties, leg, this.#options.relays(), now);
    this.#options.reply(to, { t: 'renewed', session: parties.session, tickets });
  }

  #resolve(from: Registration, name: string, now: Instant): void {
    this.#spendLookup(from, now);
    const { registrations } = this.#options;
    const id = registrations.nameHolder(name, now);
    const chain = (id && registrations.listener(id)?.successions) ?? [];
    const successions = chain.length > 0 ? encodeSuccessions(chain) : undefined;
    this.#options.reply(from, {
      t: 'resolved',
      name,
      id: id && publicKeyOf(id),
      ...(successions && { successions }),
    });
  }

  /** Who has taken the place of the peer that an offer is for, and what proves it: of its earlier ids no more than that one and later ones. */
  #successorOf({ to, instance }: MessageTo<ToRendezvous, 'offer'>) {
    if (typeof to === 'string' || instance) return undefined;
    const before = peerIdOf(to);
    const successor = this.#options.registrations.successor(before);
    if (!successor) return undefined;
    const { idBytes, successions } = successor;
    const first = successions.findIndex((succession) => succession.from === before);
    return { id: idBytes, successions: encodeSuccessions(successions.slice(first)) };
  }

  /** Who takes offers under this id or name. An unknown one and one that isn't there are answered alike. */
  #callee(
    from: Registration,
    to: Uint8Array | string,
    instance: Uint8Array | undefined,
    now: Instant,
  ): Registration {
    if (from.role === 'relay') throw new SallyportError('NOT_AUTHORIZED', 'a relay makes no offers');
    this.#spendLookup(from, now);
    const { registrations } = this.#options;
    const id = typeof to === 'string' ? registrations.nameHolder(to, now) : peerIdOf(to);
    if (!this.#perPair.take(`${from.id} ${id ?? String(to)}`, now)) {
      this.#lookups.giveBack(from.id);
      throw rateLimited('too many offers to this peer');
    }
    const callee =
      id && (instance ? registrations.get(instanceKey(id, instance)) : registrations.listener(id));
    if (!callee) throw offline();
    if (!this.#hasRoom(callee, from, now)) throw rateLimited('too many offers reach this peer');
    this.#lookups.giveBack(from.id);
    return callee;
  }

  /** Strangers, however many, leave room for those whom the callee knows; and those of one address, for those of others. */
  #hasRoom(callee: Registration, from: Registration, now: Instant): boolean {
    const circle = `${callee.id} ${callee.acquaintances.has(from.id) ? 'acquaintances' : 'strangers'}`;
    const source = this.#options.sourceOf(from);
    return this.#perSource.take(`${circle} ${source}`, now) && this.#perCallee.take(circle, now);
  }

  /** The very instance that a message names; nobody can bury another under messages. */
  #instance(
    from: Registration,
    { to, instance }: { to: Uint8Array; instance: Uint8Array },
    now: Instant,
  ): Registration {
    const registration = this.#options.registrations.get(instanceKey(peerIdOf(to), instance));
    if (!registration) throw offline();
    if (!this.#forwarded.take(`${from.id} ${registration.key}`, now))
      throw rateLimited('too many messages to this peer');
    return registration;
  }

  #spendLookup(from: Registration, now: Instant): void {
    if (!this.#lookups.take(from.id, now)) throw rateLimited('too many look-ups');
  }
}

function offline(): SallyportError {
  return new SallyportError('PEER_OFFLINE', 'no such peer is up');
}

function rateLimited(message: string): SallyportError {
  return new SallyportError('RATE_LIMITED', message);
}
