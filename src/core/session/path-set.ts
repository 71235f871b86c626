import type { Instant } from '../machine.ts';
import type { PathEvent, PathId, SessionOutput } from './events.ts';
import { KEEPALIVE_MS } from './keepalive.ts';
import { MoveGate } from './move-gate.ts';
import type { PathLoad } from './liveness.ts';
import type { Path } from './path.ts';
import type { ResendBuffer } from './resend.ts';
import { selectPath, type Choice } from './selector.ts';

/**
 * The session's paths: which one this end sends on, when it moves, and which are dead. Falling back happens at once;
 * moving to something better is limited by two gates, one for upgrades to direct and one within a class.
 */
export class PathSet {
  readonly #resend: ResendBuffer;
  readonly #emit: (output: SessionOutput) => void;
  readonly #paths = new Map<PathId, Path>();
  readonly #upgrades = new MoveGate();
  readonly #laterals = new MoveGate();
  #active: Path | undefined;
  #activeReason = '';
  #everConfirmed = false;
  /** This end has sent directly before: from then on upgrades count. */
  #wasDirect = false;
  /** A better path waits for its gate to open; `Infinity` where none does. */
  #moveAt: Instant = Infinity;
  #pathlessSince: Instant | undefined;
  #keepaliveMs = KEEPALIVE_MS;
  #reconnectedAt: Instant = -Infinity;

  constructor(resend: ResendBuffer, emit: (output: SessionOutput) => void, now: Instant) {
    this.#resend = resend;
    this.#emit = emit;
    this.#pathlessSince = now;
  }

  /** The path that this end sends its reliable frames on. */
  get active(): Path | undefined {
    return this.#active;
  }

  get pathlessSince(): Instant | undefined {
    return this.#pathlessSince;
  }

  get size(): number {
    return this.#paths.size;
  }

  get(id: PathId): Path | undefined {
    return this.#paths.get(id);
  }

  [Symbol.iterator](): IterableIterator<Path> {
    return this.#paths.values();
  }

  get deadline(): Instant {
    let first = Math.min(this.#moveAt, this.#doubtAt);
    for (const path of this.#paths.values()) {
      const load = this.#load(path);
      first = Math.min(first, path.liveness.pingAt, this.#checkAt(path, load), this.#deadAt(path, load));
    }
    return first;
  }

  add(path: Path, now: Instant): void {
    this.#paths.set(path.info.id, path);
    if (path.info.direct) path.liveness.keepAlive(this.#keepaliveMs, now);
    this.#pathlessSince = undefined;
    this.#select(now);
  }

  /** The peer's ATTACH has come. */
  confirm(path: Path, now: Instant): void {
    path.confirmed = true;
    path.heardAt = now;
    this.#everConfirmed = true;
    this.#report(path, 'up', path.info.technique ?? 'attached');
    if (path === this.#active) this.#inUse(path);
    this.#select(now);
  }

  /** Its stream has answered. */
  heard(path: Path, now: Instant): void {
    path.liveness.ponged(now);
    path.heardAt = now;
    path.unheardSince = Infinity;
    this.proven(path, now);
  }

  /** The path has shown that it carries what this end sends. */
  proven(path: Path, now: Instant): void {
    path.suspect = false;
    this.#select(now);
  }

  /** Takes the path out, and sends on the next best one at once. */
  remove(path: Path, reason: string, now: Instant): void {
    if (!this.#paths.delete(path.info.id)) return;
    for (const token of path.unansweredTokens()) {
      this.#emit({ type: 'pong', token, path: path.info.id, rttMs: undefined });
    }
    this.#report(path, 'down', reason);
    if (this.#paths.size === 0) this.#pathlessSince = now;
    if (path === this.#active) {
      this.#active = undefined;
      if (path.info.direct) this.#upgrades.died(now);
      this.#select(now, `${reason}; `);
    }
    if (this.#active === undefined) this.#needPath(`no path: ${reason}`);
    else if (path.info.direct && !this.#hasDirect()) this.#needPath(`no direct path: ${reason}`);
  }

  /**
   * A check was answered: the path works, whatever holds up what it carries. A carrier that waits to repeat what a cut has
   * swallowed, for two seconds or more, is not waited for where another path answers; it is sent on again once its stream has answered.
   */
  answered(path: Path, now: Instant): void {
    path.liveness.answered(now);
    const load = this.#load(path);
    const stands = path === this.#active && path.liveness.standsStill(load);
    if (stands) {
      if (path.info.direct) this.#upgrades.died(now);
      path.liveness.stood(now, load);
      path.ask(now);
    }
    path.unheardSince = path.liveness.stands ? now : Infinity;
    // What has stood for too long although it answers shows nothing new by one more answer.
    if (path.suspect && path.liveness.deadAt(load) <= now) return;
    path.suspect = false;
    this.#select(now, stands ? `${STANDS}; ` : '');
  }

  /** Sends the pings and checks that are due and declares the dead; returns the paths to be closed, already removed. */
  handleTimeout(now: Instant): Path[] {
    const dead: Path[] = [];
    if (this.#doubtAt <= now) this.#askOthers(now);
    for (const path of this.#paths.values()) {
      const load = this.#load(path);
      if (this.#deadAt(path, load) <= now && this.#isDead(path, now)) {
        this.remove(path, causeOfDeath(path, now), now);
        dead.push(path);
        continue;
      }
      if (path.liveness.pingAt <= now) path.ping(path === this.#active, now);
      if (this.#checkAt(path, load) <= now) this.#check(path, now);
    }
    if (this.#moveAt <= now) this.#select(now);
    return dead;
  }

  /** This process stood still for a while: no path is to blame for the silence. */
  forgive(now: Instant): void {
    for (const path of this.#paths.values()) {
      path.liveness.forgive(now);
      path.unheardSince = Infinity;
    }
  }

  /** The network has changed under all of them: what doesn't answer soon is dead. */
  questionAll(now: Instant): void {
    for (const path of this.#paths.values()) this.#question(path, now);
  }

  /**
   * This end was cut off from the rendezvous, and is no longer. TCP repeats what was lost meanwhile after ever longer pauses, so a new circuit is there
   * sooner than the old one goes on: that is not waited for merely because it is the last path.
   */
  reconnected(now: Instant): void {
    this.#reconnectedAt = now;
    for (const path of this.#paths.values()) if (!path.info.direct) path.ask(now);
  }

  #isOutlived({ info, liveness }: Path): boolean {
    return !info.direct && liveness.provenAt < this.#reconnectedAt;
  }

  /** One alone is doubted, which matters only where another is there; and of those, which one still answers. */
  question(path: Path, now: Instant): void {
    if (!this.#hasOther(path)) return;
    this.#question(path, now);
    // It may carry nothing that would show that it is dead as well.
    if (this.#active?.info.direct && this.#active !== path) this.#question(this.#active, now);
    this.#askOthers(now);
  }

  #question(path: Path, now: Instant): void {
    if (!path.confirmed) return;
    path.ping(path === this.#active, now);
    path.liveness.questioned(now, this.#load(path));
  }

  /** Of direct paths on standby, and of those to come. */
  keepalive(everyMs: number, now: Instant): void {
    this.#keepaliveMs = everyMs;
    for (const path of this.#paths.values()) {
      if (path.info.direct) path.liveness.keepAlive(everyMs, now);
    }
  }

  get #doubtAt(): Instant {
    const active = this.#active;
    return active ? active.liveness.doubtAt(this.#load(active)) : Infinity;
  }

  /**
   * The peer sends by `path`. Where that is the relay although this end sends directly, the direct path has failed
   * over there; this end may have nothing in flight that would show it.
   */
  peerSendsBy(path: Path, now: Instant): void {
    const active = this.#active;
    if (!active?.confirmed || !active.info.direct || path.info.direct) return;
    this.#question(active, now);
    this.#askOthers(now);
  }

  /**
   * The sending path is silent. What silences one path often silences its like: the others are asked now, so that this
   * end does not fall from one dead path to the next. Once is enough: what has answered since then need not do so again.
   */
  #askOthers(now: Instant): void {
    const active = this.#active;
    active?.liveness.doubt(now);
    const askedAt = active && active.inFlight > 0 ? active.liveness.doubtedAt : now;
    for (const path of this.#paths.values()) {
      if (path === active || !path.confirmed || path.heardAt > askedAt) continue;
      path.unheardSince = Math.min(path.unheardSince, now);
      path.ping(false, now);
    }
  }

  #check(path: Path, now: Instant): void {
    path.liveness.checked(now);
    this.#emit({ type: 'check', path: path.info.id });
  }

  #load(path: Path): PathLoad {
    return path.load(path === this.#active, this.#resend.oldestBytes);
  }

  /** Other carriers than udx repeat what is lost soon enough. */
  #checkAt(path: Path, load: PathLoad): Instant {
    if (path.info.kind !== 'udp' || !path.confirmed) return Infinity;
    return path.liveness.checkAt(load, path.unheardSince);
  }

  #deadAt(path: Path, load: PathLoad): Instant {
    if (path.suspect) return this.#isOutlived(path) ? this.#reconnectedAt : path.liveness.lastDeadAt(load);
    const patience = path.info.direct ? UNHEARD_DIRECT_MS : UNHEARD_MS;
    const unheardUntil = path.unheardSince + patience;
    return Math.min(path.liveness.deadAt(load), unheardUntil);
  }

  /** Past its time: dead, unless it is the last path and its second, longer time has only begun. */
  #isDead(path: Path, now: Instant): boolean {
    if (path.suspect || this.#hasOther(path) || this.#isOutlived(path)) return true;
    if (path.liveness.blockedAt <= now) return true;
    path.suspect = true;
    if (path.confirmed) this.#needPath('the last path is silent');
    return false;
  }

  #select(now: Instant, because = ''): void {
    this.#moveAt = Infinity;
    const usable = this.#usable().map((path) => path.selectable);
    const bulk = [...this.#paths.values()].some((path) => path.bulk.isBulk(now));
    const choice = selectPath(usable, this.#active?.info.id, bulk);
    if (!choice || choice.move === 'stay') return;
    const path = this.#paths.get(choice.id)!;
    const gate = this.#gateOf(choice.move);
    if (gate) {
      if (now < gate.opensAt) {
        this.#moveAt = gate.opensAt;
        return;
      }
      if (now - path.heardAt > HEARD_LATELY_MS) return path.ask(now);
      gate.moved(now);
    }
    this.#activate(path, because + choice.reason, choice.move !== 'fallback', now);
  }

  /** Falling back is never limited. Neither is the first upgrade: a NAT that restarts soon after it shall not cost the pause. */
  #gateOf(move: Exclude<Choice['move'], 'stay'>): MoveGate | undefined {
    switch (move) {
      case 'fallback':
        return undefined;
      case 'upgrade':
        return this.#wasDirect ? this.#upgrades : undefined;
      case 'lateral':
        return this.#laterals;
    }
  }

  /** Confirmed and healthy paths that answer; failing those any confirmed; on a new session the first there is. */
  #usable(): Path[] {
    const paths = [...this.#paths.values()];
    const confirmed = paths.filter((path) => path.confirmed);
    const healthy = confirmed.filter((path) => !path.suspect);
    const heard = healthy.filter((path) => path.unheardSince === Infinity);
    if (heard.length > 0) return heard;
    if (healthy.length > 0) return healthy;
    if (this.#everConfirmed) return confirmed;
    return this.#active ? [this.#active] : paths;
  }

  /** @param beside the path before, which works as well */
  #activate(path: Path, reason: string, beside: boolean, now: Instant): void {
    this.#active = path;
    this.#activeReason = reason;
    const { first, next } = this.#resend;
    path.activate(first, next, beside, now);
    if (path.confirmed) this.#inUse(path);
  }

  #inUse(path: Path): void {
    this.#wasDirect ||= path.info.direct;
    this.#report(path, 'active', this.#activeReason);
  }

  #hasOther(path: Path): boolean {
    return [...this.#paths.values()].some((other) => other !== path && other.confirmed);
  }

  #hasDirect(): boolean {
    return [...this.#paths.values()].some((path) => path.info.direct && path.confirmed);
  }

  #needPath(reason: string): void {
    this.#emit({ type: 'need-path', reason });
  }

  #report(path: Path, state: PathEvent['state'], reason: string): void {
    this.#emit({ type: 'path', event: { path: path.info, state, reason, rttMs: path.rttMs } });
  }
}

function causeOfDeath({ liveness, inFlight }: Path, now: Instant): string {
  if (liveness.blockedAt <= now) return BLOCKED;
  return inFlight > 0 ? 'no acknowledgement' : 'no answer to pings';
}

const STANDS = 'short packets are answered, but no data gets through';
const BLOCKED = `${STANDS}: packets may be too long for a router on the way`;
/** What is merely better is moved to once its stream has answered: a carrier that is repeating what was lost may hold up all that follows. */
const HEARD_LATELY_MS = 500;
/** A path that was asked whether it still works, and has not answered for so long, does not. */
const UNHEARD_MS = 5_000;
/** Sooner where another can be made in its place. */
const UNHEARD_DIRECT_MS = 2_000;
