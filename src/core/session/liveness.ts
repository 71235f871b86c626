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
 *
 * Where packets are lost, a carrier may be silent for longer than that: it repeats a lost packet after 1 s, and then
 * after 2 s. So a silent path is asked beside its streams (`check`), and for as long as it answers it is not dead, up
 * to a limit: the streams have to go on as well.
 */
export class Liveness {
  /** The last PONG, progress, or start: anything that showed the sending direction to work. */
  #provenAt: Instant;
  /** The last acknowledgement that made progress, or when data was first in flight again. */
  #progressAt: Instant;
  #pingAt: Instant;
  #quickPings = PINGS_AT_START;
  #standbyPingMs = STANDBY_PING_MS;
  /** When this silence was noticed, and the other paths were asked; `Infinity` where nothing is silent. */
  #doubtedAt: Instant = Infinity;
  /** The path was questioned then, … */
  #questionedAt: Instant = Infinity;
  /** … and an answer, or progress, has to come by then. */
  #answerBy: Instant = Infinity;
  /** The last check, and the last answer to one. */
  #checkedAt: Instant = -Infinity;
  #answeredAt: Instant = -Infinity;
  /** From then on every check was answered. */
  #answeringSince: Instant = -Infinity;
  /** The stream was found to stand then; `Infinity` where it has brought something since. */
  #stoodAt: Instant = Infinity;
  /** For so long it may stand while every check is answered. */
  #standMs = 0;

  constructor(now: Instant) {
    this.#provenAt = now;
    this.#progressAt = now;
    this.#pingAt = now;
  }

  get provenAt(): Instant {
    return this.#provenAt;
  }

  get pingAt(): Instant {
    return this.#pingAt;
  }

  /** The present silence has been noticed. */
  get doubted(): boolean {
    return this.#doubtedAt < Infinity;
  }

  get doubtedAt(): Instant {
    return this.#doubtedAt;
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

  /** The first pings follow one another soon, so that the round trip is known early; not at once, when everybody begins to talk. */
  ponged(now: Instant): void {
    this.#heard(now);
    this.flows();
    if (this.#quickPings > 0) this.#pingAt = now + QUICK_PING_MS;
  }

  pingSoon(now: Instant): void {
    this.#pingAt = now;
  }

  progressed(now: Instant): void {
    this.#heard(now);
    this.restarted(now);
  }

  checked(now: Instant): void {
    this.#checkedAt = now;
  }

  /** A check was answered: packets pass both ways, whatever holds up the streams. */
  answered(now: Instant): void {
    this.#heard(now);
    if (now - this.#answeredAt > ANSWER_GAP_MS) this.#answeringSince = now;
    this.#answeredAt = now;
  }

  /**
   * Check after check is answered, and still the streams stand: what was lost is over, and the carrier waits to send it
   * again. Where packets are lost now and then, so are checks.
   */
  standsStill(load: PathLoad): boolean {
    return load.inFlight > 0 && this.doubted && this.#answeredAt - this.#answeringSince >= STEADY_MS;
  }

  /** It does, and is left for another path if there is one. Being sent on again meanwhile gives it no more time. */
  stood(now: Instant, load: PathLoad): void {
    if (this.stands) return;
    this.#stoodAt = now;
    this.#standMs = 2 * patienceMs(load) + backlogMs(load);
  }

  /** Something has come through the stream: through this one, where progress may be another path's. */
  flows(): void {
    this.#stoodAt = Infinity;
  }

  /** Nothing has come through the stream since. */
  get stands(): boolean {
    return this.#stoodAt < Infinity;
  }

  /**
   * When the path is dead for what its stream carries, last or not: for longer than udx takes to send lost packets again, all
   * that is short has passed and nothing that is long, as where routers drop what exceeds the MTU of a path that has changed.
   */
  get blockedAt(): Instant {
    return Math.max(this.#stoodAt, this.#answeringSince) + this.#standMs;
  }

  /** Data is in flight that was not a moment ago, or the path is sent on anew. */
  restarted(now: Instant): void {
    this.#progressAt = now;
    this.#doubtedAt = Infinity;
  }

  /** The silence has been noticed: it is not noticed twice. */
  doubt(now: Instant): void {
    this.#doubtedAt = Math.min(this.#doubtedAt, now);
  }

  /** The peer seems to have left this path: what it has not answered soon is dead. */
  questioned(now: Instant, load: PathLoad): void {
    this.#questionedAt = Math.min(this.#questionedAt, now);
    this.#answerBy = Math.min(this.#answerBy, now + patienceMs(load) / 2);
  }

  /** Sent on from now: if it was not heard lately it is asked before it is given up. */
  activated(now: Instant): void {
    this.restarted(now);
    this.#pingAt = Math.min(this.#pingAt, Math.max(now, this.#provenAt + ACTIVE_PING_MS));
    this.#provenAt = Math.max(this.#provenAt, now - IDLE_DEATH_MS + ACTIVE_PING_MS);
  }

  /** This process itself stood still: the silence was ours. */
  forgive(now: Instant): void {
    this.progressed(now);
    this.flows();
    this.#pingAt = now;
  }

  /** When the path has been silent for long enough to ask which other would do; half of what ends it. */
  doubtAt(load: PathLoad): Instant {
    return load.inFlight > 0 && !this.doubted ? this.#progressAt + patienceMs(load) / 2 : Infinity;
  }

  /**
   * When to ask beside the streams: from the moment of doubt on, again and again.
   * @param askedAt when the path was asked in its streams, which it has not answered
   */
  checkAt(load: PathLoad, askedAt: Instant): Instant {
    const doubtAt = load.inFlight > 0 ? this.#progressAt + patienceMs(load) / 2 : Infinity;
    return Math.max(this.#checkedAt + CHECK_MS, Math.min(askedAt, this.#questionedAt, doubtAt));
  }

  /** When the path is to be left for another. */
  deadAt(load: PathLoad): Instant {
    const silence = IDLE_DEATH_MS + (load.active ? 0 : this.#standbyPingMs);
    const idleDeath = Math.min(this.#provenAt + silence, this.#answerBy, this.blockedAt);
    return load.inFlight > 0 ? Math.min(idleDeath, this.#silentUntil(load)) : idleDeath;
  }

  /** When the path is given up although there is no other. */
  lastDeadAt(load: PathLoad): Instant {
    const deadAt = this.deadAt(load);
    if (load.inFlight === 0) return deadAt;
    return Math.min(this.blockedAt, Math.max(deadAt, this.#progressAt + IDLE_DEATH_MS));
  }

  #heard(now: Instant): void {
    this.#provenAt = now;
    this.#questionedAt = Infinity;
    this.#answerBy = Infinity;
  }

  #silentUntil(load: PathLoad): Instant {
    const patience = patienceMs(load);
    const explained = this.#progressAt + patience;
    if (this.#answeredAt <= this.#progressAt) return explained;
    return Math.max(explained, Math.min(this.#answeredAt + patience, this.#progressAt + ANSWERING_MS));
  }
}

function patienceMs({ rttMs, bytesPerMs, oldestFrameBytes }: PathLoad): number {
  const transmission = bytesPerMs === undefined ? 0 : oldestFrameBytes / bytesPerMs;
  return Math.max(MIN_PATIENCE_MS, Math.min(3 * rttMs, MAX_SPARE_MS + rttMs), 4 * transmission);
}

/** Until what was handed to the path would have left. */
function backlogMs({ inFlight, bytesPerMs }: PathLoad): number {
  return bytesPerMs === undefined ? 0 : inFlight / bytesPerMs;
}

const MIN_PATIENCE_MS = 1500;
/** Beyond the round trip itself. One that a busy machine has made long says little of the path. */
const MAX_SPARE_MS = 3000;
const ACTIVE_PING_MS = 5000;
const STANDBY_PING_MS = 15_000;
const IDLE_DEATH_MS = 15_000;
/** Where two of three checks are lost, one of seven or eight still gets an answer before the path's time is over. */
const CHECK_MS = 100;
/** Longer, and a check between two answers was lost. */
const ANSWER_GAP_MS = 1.5 * CHECK_MS;
/** Five checks in a row: of those that lose one in three, fewer than one run in seven. */
const STEADY_MS = 3.5 * CHECK_MS;
/** Data that nothing has acknowledged for so long is not lost by chance, although checks pass. */
const ANSWERING_MS = 10_000;
const PINGS_AT_START = 3;
const QUICK_PING_MS = 20;
