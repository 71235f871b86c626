import type { Instant } from '../machine.ts';

/** What liveness is judged by at one moment. */
export interface PathLoad {
  /** This end sends its reliable frames here. */
  active: boolean;
  /** Bytes sent here and not acknowledged. */
  inFlight: number;
  /** Bytes of the oldest unacknowledged frame. */
  oldestFrameBytes: number;
  /** The slower of the round trip that pings and that acknowledgements show. */
  rttMs: number;
  /** Delivery rate; `undefined` until measured. */
  bytesPerMs: number | undefined;
}

/**
 * When a path counts as dead. With data in flight: no acknowledgement has made progress for longer than the round
 * trip and the oldest frame explain. Idle: no PONG within 15 s. Bytes received prove nothing about the sending direction.
 */
export class Liveness {
  /** The last PONG, progress, or start: anything that showed the sending direction to work. */
  #provenAt: Instant;
  /** The last acknowledgement that made progress, or when data was first in flight again. */
  #progressAt: Instant;
  #pingAt: Instant;
  #quickPings = PINGS_AT_START;
  #standbyPingMs = STANDBY_PING_MS;
  /** The other paths have been asked in this silence. */
  #doubted = false;
  /** An answer, or progress, has to come by then. */
  #answerBy: Instant = Infinity;

  constructor(now: Instant) {
    this.#provenAt = now;
    this.#progressAt = now;
    this.#pingAt = now;
  }

  get pingAt(): Instant {
    return this.#pingAt;
  }

  pinged(now: Instant, active: boolean): void {
    this.#quickPings -= 1;
    this.#pingAt = now + (active ? ACTIVE_PING_MS : this.#standbyPingMs);
  }

  /** While the path is not sent on, it is pinged this often. */
  keepAlive(everyMs: number, now: Instant): void {
    this.#standbyPingMs = everyMs;
    this.#pingAt = Math.min(this.#pingAt, now + everyMs);
  }

  /** The first pings follow one another at once, so that the round trip is known early. */
  ponged(now: Instant): void {
    this.#provenAt = now;
    this.#answerBy = Infinity;
    if (this.#quickPings > 0) this.#pingAt = now;
  }

  progressed(now: Instant): void {
    this.#provenAt = now;
    this.#answerBy = Infinity;
    this.restarted(now);
  }

  /** Data is in flight that was not a moment ago, or the path is sent on anew. */
  restarted(now: Instant): void {
    this.#progressAt = now;
    this.#doubted = false;
  }

  /** The silence has been noticed: it is not noticed twice. */
  doubt(): void {
    this.#doubted = true;
  }

  /** The peer seems to have left this path: what it has not answered soon is dead. */
  questioned(now: Instant, load: PathLoad): void {
    this.#answerBy = Math.min(this.#answerBy, now + patienceMs(load) / 2);
  }

  activated(now: Instant): void {
    this.restarted(now);
    this.#pingAt = Math.min(this.#pingAt, now + ACTIVE_PING_MS);
    this.#provenAt = Math.max(this.#provenAt, now - IDLE_DEATH_MS + ACTIVE_PING_MS);
  }

  /** This process itself stood still: the silence was ours. */
  forgive(now: Instant): void {
    this.progressed(now);
    this.#pingAt = now;
  }

  /** When the path has been silent for long enough to ask which other would do; half of what ends it. */
  doubtAt(load: PathLoad): Instant {
    return load.inFlight > 0 && !this.#doubted ? this.#progressAt + patienceMs(load) / 2 : Infinity;
  }

  /** When the path is to be left for another. */
  deadAt(load: PathLoad): Instant {
    const silence = IDLE_DEATH_MS + (load.active ? 0 : this.#standbyPingMs);
    const idleDeath = Math.min(this.#provenAt + silence, this.#answerBy);
    return load.inFlight > 0 ? Math.min(idleDeath, this.#progressAt + patienceMs(load)) : idleDeath;
  }

  /** When the path is given up although there is no other. */
  lastDeadAt(load: PathLoad): Instant {
    const deadAt = this.deadAt(load);
    return load.inFlight > 0 ? Math.max(deadAt, this.#progressAt + IDLE_DEATH_MS) : deadAt;
  }
}

function patienceMs({ rttMs, bytesPerMs, oldestFrameBytes }: PathLoad): number {
  const transmission = bytesPerMs === undefined ? 0 : oldestFrameBytes / bytesPerMs;
  return Math.max(MIN_PATIENCE_MS, 3 * rttMs, 4 * transmission);
}

const MIN_PATIENCE_MS = 1500;
const ACTIVE_PING_MS = 5000;
const STANDBY_PING_MS = 15_000;
const IDLE_DEATH_MS = 15_000;
const PINGS_AT_START = 3;
