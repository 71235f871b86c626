import { formatEndpoint, type Endpoint } from '../endpoint.ts';
import { earliest, type Instant } from '../machine.ts';
import { otherRole, type SessionRole } from '../session/role.ts';
import type { ConnectionId, RemoteCandidate } from './events.ts';
import { HeldPort, type HeldPortOptions, type HeldPortUse } from './held-port.ts';
import type { Technique } from './stage.ts';
import type { PortProbes } from './port-probes.ts';
import type { ProbeBudget } from './probe-budget.ts';
import { heldUpMs, patienceOf } from './schedule.ts';
import { isLocal } from './target.ts';
import { TcpConnections, type TcpConnection } from './tcp-connections.ts';
import { TcpShots } from './tcp-shots.ts';
import { TcpTargets, type TcpTarget } from './tcp-targets.ts';

/** The family is that of the addresses which are dialled as well. */
export interface TcpOpeningOptions extends HeldPortOptions {
  readonly budget: ProbeBudget;
  /** How long after T0 the search goes on. */
  readonly roundMs: () => number;
  /** What a connection counts as that a port search's dial led to. */
  readonly searchTechnique: () => Technique;
  /** A port search's dial was answered by RST. */
  readonly onRefused: (socket: number, to: Endpoint, now: Instant) => void;
}

/** The responder dials the initiator's listeners this much later, since mostly the other direction has worked. */
const REVERSED_DIAL_DELAY_MS = 300;

/** Gaps between dials to the same listener. */
const LISTENER_RETRY_MS = 500;

/**
 * Opens a TCP connection to the peer: dials its listeners' addresses, and its mapping from the *held* port, which is
 * the one that this end's own TCP STUN connection keeps mapped.
 *
 * Two ends that dial each other at once need no listener: each SYN opens the own NAT's filter, and crosses into the
 * other's half-open socket.
 */
export class TcpOpening implements PortProbes {
  #options: TcpOpeningOptions;
  #held: HeldPort;
  #targets = new TcpTargets();
  /** Connected and not yet secured. */
  #connections: TcpConnections;
  #startAt: Instant | undefined;
  /** T0, or when this end came to know of it or could act upon it: the search has its time from then on. */
  #searchesFrom: Instant = 0;
  #patience = 0;
  #ended = false;
  #dialed = 0;
  /** How dials ended that did not connect. */
  #failures = new Map<string, number>();
  #shots: TcpShots;
  /** Our filter has been opened for the peer. */
  #opened = false;
  /** When the last connection came about over an address that leaves the site. */
  #contactAt: Instant | undefined;

  constructor(options: TcpOpeningOptions) {
    this.#options = options;
    this.#held = new HeldPort(options);
    this.#shots = new TcpShots(options.emit);
    this.#connections = new TcpConnections({
      role: options.role,
      onOffered: (connection, now) => this.#handOut(connection, now),
      onSpare: (connection) => options.emit({ type: 'cancel-dial', connection }),
    });
  }

  get secured(): boolean {
    return this.#connections.secured;
  }

  /** Secured, or out of time with nothing left that could be. */
  get finished(): boolean {
    return this.secured || (this.#ended && this.#connections.isEmpty);
  }

  get dialed(): number {
    return this.#dialed + this.#shots.fired;
  }

  get isSettled(): boolean {
    return this.secured || this.#ended;
  }

  get contactAt(): Instant | undefined {
    return this.#contactAt;
  }

  get deadline(): Instant | undefined {
    if (this.#ended || this.#startAt === undefined) return undefined;
    return earliest(this.#targets.deadline, this.#held.deadline, this.#shots.deadline, this.#endsAt);
  }

  /** When the search is given up. */
  get #endsAt(): Instant {
    return this.#searchesFrom + this.#options.roundMs();
  }

  get hasTargets(): boolean {
    return this.#targets.all.length > 0 || this.dialed > 0;
  }

  describe(): string {
    const failures = [...this.#failures].map(([code, count]) => `, ${count} × ${code}`);
    return `${this.dialed} dials${failures.join('')}`;
  }

  useHeldPort(use: HeldPortUse, now: Instant): void {
    this.#held.use = use;
    if (this.#startAt === undefined || this.#ended) return;
    this.#arrangeHeldPort(now);
    this.#reconsiderFirstSyn(now);
  }

  add(candidate: RemoteCandidate, now: Instant): void {
    const target = this.#targets.add(candidate);
    if (target && this.#startAt !== undefined && !this.#ended) target.nextAt = this.#firstDialAt(target, now);
  }

  /** One dial of a port search: nothing is dialled again but by another call. */
  spray(socket: number, to: Endpoint, now: Instant): void {
    if (!this.isSettled) this.#shots.fire(socket, to, now);
  }

  /** @param confirmMs the responder begins so much later than T0, or than now if that is over */
  start(at: Instant, roundTripMs: number, now: Instant, confirmMs = 0): void {
    this.#startAt = at;
    this.#searchesFrom = Math.max(at, now);
    this.#held.start(at, roundTripMs, now, confirmMs);
    this.#shots.start(roundTripMs);
    this.#patience = patienceOf(roundTripMs);
    for (const target of this.#targets.all) target.nextAt = this.#firstDialAt(target, now);
    this.#arrangeHeldPort(now);
  }

  connected(id: ConnectionId, local: Endpoint, remote: Endpoint, now: Instant): void {
    if (this.#shots.ended(id)) {
      return this.#take({ id, local, remote, technique: this.#options.searchTechnique() }, now);
    }
    const target = this.#targets.ended(id);
    if (!target) return;
    target.nextAt = undefined;
    this.#take({ id, local, remote, technique: this.#techniqueOf(target, now) }, now);
  }

  failed(id: ConnectionId, code: string, now: Instant): void {
    const shot = this.#shots.ended(id);
    if (shot) {
      this.#noteFailure(code);
      if (code === 'ECONNREFUSED') this.#options.onRefused(shot.socket, shot.to, now);
      return;
    }
    this.#retire(id, code, now);
  }

  accepted(id: ConnectionId, local: Endpoint, remote: Endpoint, held: boolean, now: Instant): void {
    const from = otherRole(this.#options.role);
    const waited = held && this.#held.use !== 'listen';
    const technique = waited ? 'connect then listen' : listenerTechnique(isLocal(remote), from);
    this.#take({ id, local, remote, technique }, now);
  }

  /** The search is over: everything but this connection goes. */
  secure(id: ConnectionId): void {
    if (this.secured) return;
    const peer = this.#connections.secure(id);
    if (peer) this.#options.budget.forgive(peer.remote.address);
    this.end();
  }

  broken(id: ConnectionId, now: Instant): void {
    const broken = this.#connections.broken(id, now);
    if (!broken) return;
    const target = this.#targets.at(broken.remote);
    if (target && !this.#ended) target.nextAt = this.#retryAt(target, now);
  }

  handleTimeout(now: Instant): void {
    if (this.#ended || this.#startAt === undefined || now < this.#startAt) return;
    this.#searchesFrom += heldUpMs(this.deadline, now);
    if (now >= this.#endsAt) return this.end();
    for (const id of this.#targets.overdue(now)) this.#giveUp(id, now);
    this.#shots.handleTimeout(now);
    this.#arrangeHeldPort(now);
    for (const target of this.#targets.due(now)) this.#dial(target, now);
  }

  /** Stops dialling and listening. What is connected stays: its TLS may be under way. */
  end(): void {
    this.#ended = true;
    for (const id of this.#targets.dialing()) this.#options.emit({ type: 'cancel-dial', connection: id });
    this.#targets.clear();
    this.#shots.end();
    this.#held.listen(false);
  }

  #take(connection: TcpConnection, now: Instant): void {
    if (this.#connections.add(connection, now) && !isLocal(connection.remote)) this.#contactAt = now;
  }

  #handOut({ id, local, remote, technique }: TcpConnection, now: Instant): void {
    const elapsedMs = Math.max(0, now - (this.#startAt ?? now));
    const text = `connected to ${formatEndpoint(remote)}; ${this.describe()}`;
    this.#options.emit({
      type: 'trace',
      transport: 'tcp',
      stage: technique,
      text,
      packets: this.dialed,
      elapsedMs,
    });
    const lan = technique === 'local addresses';
    this.#options.emit({
      type: 'path',
      transport: 'tcp',
      connection: id,
      local,
      remote,
      technique,
      lan,
      elapsedMs,
    });
  }

  #dial(target: TcpTarget, now: Instant): void {
    if (target.attemptsLeft <= 0) target.nextAt = undefined;
    else if (this.#held.isFor(target) && now < this.#held.firstSynAt) target.nextAt = this.#held.firstSynAt;
    else if (!this.#mayDial(target, now) || !this.#mayDisturb(target, now)) {
      target.nextAt = this.#retryAt(target, now);
    } else {
      const id = `dial${this.#options.family === 6 ? '6' : ''}-${++this.#dialed}`;
      this.#targets.dial(target, id, now + this.#patience);
      const from = this.#held.isFor(target) ? 'held' : 'any';
      this.#options.emit({ type: 'dial', connection: id, to: target.endpoint, from });
    }
  }

  #mayDial(target: TcpTarget, now: Instant): boolean {
    if (this.#held.isFor(target)) return !this.#held.isOurTurnToListen(now);
    if (target.mapping) return this.#held.leavesMappingToOthers;
    return this.#connections.isEmpty;
  }

  #mayDisturb({ attested, endpoint }: TcpTarget, now: Instant): boolean {
    return attested || this.#options.budget.take(endpoint.address, now);
  }

  #giveUp(id: ConnectionId, now: Instant): void {
    this.#options.emit({ type: 'cancel-dial', connection: id });
    this.#retire(id, 'no answer', now);
  }

  #retire(id: ConnectionId, failure: string, now: Instant): void {
    const target = this.#targets.ended(id);
    if (!target) return;
    this.#noteFailure(failure);
    target.nextAt = this.#retryAt(target, now);
  }

  #noteFailure(failure: string): void {
    this.#failures.set(failure, (this.#failures.get(failure) ?? 0) + 1);
  }

  #firstDialAt(target: TcpTarget, now: Instant): Instant {
    const begin = Math.max(now, this.#startAt!);
    const late = this.#options.role === 'responder' && !target.mapping && this.#held.use !== 'dial';
    return begin + (late ? REVERSED_DIAL_DELAY_MS : 0);
  }

  /** Held ports dial in the shared slots; listeners are simply dialled again after a while. */
  #retryAt(target: TcpTarget, now: Instant): Instant {
    return this.#held.isFor(target) ? this.#held.nextDialAt(now) : now + LISTENER_RETRY_MS;
  }

  /** It may have waited for what has just been measured. */
  #reconsiderFirstSyn(now: Instant): void {
    const peer = this.#targets.mapping;
    if (peer?.nextAt === undefined || peer.wasDialed) return;
    peer.nextAt = Math.max(this.#startAt!, this.#held.isFor(peer) ? this.#held.firstSynAt : now);
  }

  #arrangeHeldPort(now: Instant): void {
    if (this.#ended) return;
    const listens = this.#held.takeTurn(now);
    if (this.#held.use === 'connect then listen') return this.#connectThenListen(now);
    if (listens) this.#cancelHeldDials(now);
    this.#held.listen(listens);
  }

  /** No dial can leave from a port that listens, so the one that opens the filter goes first. */
  #connectThenListen(now: Instant): void {
    const peer = this.#targets.mapping;
    if (this.#opened || !peer || now < this.#startAt! || !this.#mayDisturb(peer, now)) return;
    this.#opened = true;
    this.#held.listen(false);
    this.#shots.fire(0, peer.endpoint, now);
    this.#held.listen(true);
  }

  #cancelHeldDials(now: Instant): void {
    for (const id of this.#targets.dialing((target) => this.#held.isFor(target))) this.#giveUp(id, now);
  }

  /** Near the end of a phase, or with clocks apart, the two ends may name it differently. */
  #techniqueOf(target: TcpTarget, now: Instant): Technique {
    if (!this.#held.isFor(target)) {
      if (target.mapping && this.#held.use === 'dial the listener') return 'connect then listen';
      // Dialled before this end's NAT was measured, and met by the peer's search.
      if (target.mapping && this.#held.use === 'nothing') return this.#options.searchTechnique();
      return listenerTechnique(!target.mapping && isLocal(target.endpoint), this.#options.role);
    }
    return this.#held.areBothDialling(now) ? 'simultaneous open' : 'connect then listen';
  }
}

/** Both ends name a dialled listener alike: by whether the address is local, and by who dialled. */
function listenerTechnique(local: boolean, dialer: SessionRole): Technique {
  if (local) return 'local addresses';
  return dialer === 'initiator' ? 'direct dial' : 'reversed dial';
}
