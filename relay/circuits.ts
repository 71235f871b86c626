import { hex } from '../src/core/bytes.ts';
import { SallyportError, asSallyportError } from '../src/core/errors.ts';
import type { PeerId } from '../src/core/identity.ts';
import { LIMITS } from '../src/core/limits.ts';
import { earliest, type Instant, type Machine } from '../src/core/machine.ts';
import type { TicketOpening } from '../src/core/protocol/ticket.ts';
import { RateLimiter, TokenBucket } from '../src/core/token-bucket.ts';
import type { CircuitsInput, CircuitsLimits, CircuitsOutput, DropReason, LegId } from './circuit-events.ts';
import { ReplayMemory } from './replay-memory.ts';

const DEFAULT_LIMITS: CircuitsLimits = {
  circuits: LIMITS.circuits,
  legsPerPeer: LIMITS.legsPerPeer,
  waitingLegsPerPeer: LIMITS.waitingLegsPerPeer,
  waitingLegMs: LIMITS.waitingLegMs,
  idleMs: LIMITS.relayIdleMs,
  openingsPerSecond: 20,
  openingsBurst: LIMITS.legsPerPeer,
  circuitBytesPerSecond: 0,
  peerBytesPerSecond: 0,
};

interface Leg {
  readonly id: LegId;
  readonly side: 0 | 1;
  readonly peer: PeerId;
  readonly circuit: Circuit;
  /** Set while its rate is used up. */
  resumesAt: Instant | undefined;
}

/** Up to two legs; spliced while it has both. */
interface Circuit {
  readonly key: string;
  readonly legs: [Leg | undefined, Leg | undefined];
  readonly bucket: TokenBucket | undefined;
  /** When the first leg came, then when bytes last went through. */
  active: Instant;
}

/** Waiting and idle legs are looked for this often. */
const SWEEP_MS = 1_000;

/**
 * Which legs belong together, for how long and how fast; the bytes themselves don't pass through here. A valid new
 * opening of a leg ends the circuit's old pair of legs, since the old one may be dead in silence (docs/protocol.md,
 * "Relay").
 */
export class Circuits implements Machine<CircuitsInput, CircuitsOutput> {
  readonly #limits: CircuitsLimits;
  readonly #circuits = new Map<string, Circuit>();
  readonly #legs = new Map<LegId, Leg>();
  readonly #legsOfPeer = new Map<PeerId, Set<Leg>>();
  readonly #paused = new Set<Leg>();
  readonly #peerBuckets = new Map<PeerId, TokenBucket>();
  readonly #openings: RateLimiter;
  readonly #replays = new ReplayMemory();
  readonly #outputs: CircuitsOutput[] = [];
  #nextSweep: Instant | undefined;

  constructor(limits: Partial<CircuitsLimits> = {}) {
    this.#limits = { ...DEFAULT_LIMITS, ...limits };
    const { openingsPerSecond: perSecond, openingsBurst: burst } = this.#limits;
    this.#openings = new RateLimiter({ perSecond, burst });
  }

  get deadline(): Instant | undefined {
    let deadline = this.#nextSweep;
    for (const leg of this.#paused) deadline = earliest(deadline, leg.resumesAt);
    return deadline;
  }

  /** How many circuits have at least one leg. */
  get size(): number {
    return this.#circuits.size;
  }

  handle(input: CircuitsInput, now: Instant): void {
    switch (input.type) {
      case 'open':
        this.#open(input.leg, input.opening, now);
        break;
      case 'bytes':
        this.#spend(input.leg, input.count, now);
        break;
      case 'closed':
        this.#closed(input.leg);
        break;
    }
  }

  handleTimeout(now: Instant): void {
    this.#resume(now);
    if (this.#nextSweep === undefined || now < this.#nextSweep) return;
    for (const circuit of this.#circuits.values()) this.#expire(circuit, now);
    this.#replays.forget(now);
    for (const [peer, bucket] of this.#peerBuckets) {
      if (!this.#legsOfPeer.has(peer) && bucket.isFull(now)) this.#peerBuckets.delete(peer);
    }
    this.#nextSweep = this.#circuits.size > 0 || this.#replays.size > 0 ? now + SWEEP_MS : undefined;
  }

  poll(): CircuitsOutput | undefined {
    return this.#outputs.shift();
  }

  #open(id: LegId, opening: TicketOpening, now: Instant): void {
    try {
      this.#check(opening, now);
    } catch (thrown) {
      this.#outputs.push({ type: 'refuse', leg: id, error: asSallyportError(thrown) });
      return;
    }
    this.#nextSweep ??= now + SWEEP_MS;
    const { ticket } = opening;
    const circuit = this.#circuitOf(hex(ticket.circuit), ticket.bytesPerSecond, now);
    if (circuit.legs[ticket.leg]) this.#end(circuit, 'replaced');
    const leg: Leg = { id, side: ticket.leg, peer: ticket.peer, circuit, resumesAt: undefined };
    this.#add(leg, now);
    this.#outputs.push({ type: 'accept', leg: id });
    const [first, second] = circuit.legs;
    if (first && second) this.#outputs.push({ type: 'splice', legs: [first.id, second.id] });
  }

  #check(opening: TicketOpening, now: Instant): void {
    const { ticket } = opening;
    if (!this.#openings.take(ticket.peer, now)) throw new SallyportError('RATE_LIMITED', 'too many openings');
    this.#replays.remember(opening, now);
    const circuit = this.#circuits.get(hex(ticket.circuit));
    if (circuit?.legs[ticket.leg]) return; // takes an old leg's place
    const legs = [...(this.#legsOfPeer.get(ticket.peer) ?? [])];
    const waiting = legs.filter((leg) => !partnerOf(leg)).length;
    if (legs.length >= this.#limits.legsPerPeer) throw new SallyportError('LIMIT', 'too many circuits');
    if (circuit) return;
    if (waiting >= this.#limits.waitingLegsPerPeer)
      throw new SallyportError('LIMIT', 'too many waiting legs');
    if (this.#circuits.size >= this.#limits.circuits) throw new SallyportError('LIMIT', 'the relay is full');
  }

  #circuitOf(key: string, ticketRate: number, now: Instant): Circuit {
    const existing = this.#circuits.get(key);
    if (existing) return existing;
    const rate = ticketRate || this.#limits.circuitBytesPerSecond;
    const bucket = rate > 0 ? new TokenBucket(rate, rate, now) : undefined;
    return { key, legs: [undefined, undefined], bucket, active: now };
  }

  #add(leg: Leg, now: Instant): void {
    leg.circuit.legs[leg.side] = leg;
    leg.circuit.active = now;
    this.#circuits.set(leg.circuit.key, leg.circuit);
    this.#legs.set(leg.id, leg);
    const legs = this.#legsOfPeer.get(leg.peer) ?? new Set();
    this.#legsOfPeer.set(leg.peer, legs.add(leg));
    const rate = this.#limits.peerBytesPerSecond;
    if (rate > 0 && !this.#peerBuckets.has(leg.peer)) {
      this.#peerBuckets.set(leg.peer, new TokenBucket(rate, rate, now));
    }
  }

  /** Debits what has passed already, and holds the leg until the debt is paid. */
  #spend(id: LegId, count: number, now: Instant): void {
    const leg = this.#legs.get(id);
    if (!leg) return;
    leg.circuit.active = now;
    const buckets = [leg.circuit.bucket, this.#peerBuckets.get(leg.peer)].filter(
      (bucket) => bucket !== undefined,
    );
    if (buckets.length === 0) return;
    for (const bucket of buckets) bucket.spend(now, count);
    const resumesAt = Math.max(...buckets.map((bucket) => bucket.solventAt(now)));
    if (resumesAt <= now) return;
    if (leg.resumesAt === undefined) this.#outputs.push({ type: 'pause', leg: id });
    leg.resumesAt = resumesAt;
    this.#paused.add(leg);
  }

  #resume(now: Instant): void {
    for (const leg of this.#paused) {
      if (leg.resumesAt === undefined || leg.resumesAt > now) continue;
      leg.resumesAt = undefined;
      this.#paused.delete(leg);
      this.#outputs.push({ type: 'resume', leg: leg.id });
    }
  }

  #expire(circuit: Circuit, now: Instant): void {
    const spliced = circuit.legs[0] && circuit.legs[1];
    const patience = spliced ? this.#limits.idleMs : this.#limits.waitingLegMs;
    if (now - circuit.active >= patience) this.#end(circuit, spliced ? 'idle' : 'partner never came');
  }

  #closed(id: LegId): void {
    const leg = this.#legs.get(id);
    if (!leg) return;
    this.#remove(leg);
    this.#end(leg.circuit, 'partner gone');
  }

  #end(circuit: Circuit, reason: DropReason): void {
    for (const leg of circuit.legs) {
      if (!leg) continue;
      this.#remove(leg);
      this.#outputs.push({ type: 'drop', leg: leg.id, reason });
    }
  }

  #remove(leg: Leg): void {
    leg.circuit.legs[leg.side] = undefined;
    if (!partnerOf(leg)) this.#circuits.delete(leg.circuit.key);
    this.#legs.delete(leg.id);
    this.#paused.delete(leg);
    const legs = this.#legsOfPeer.get(leg.peer);
    legs?.delete(leg);
    if (legs?.size === 0) this.#legsOfPeer.delete(leg.peer);
  }
}

function partnerOf(leg: Leg): Leg | undefined {
  return leg.circuit.legs[leg.side === 0 ? 1 : 0];
}
