import type { Identity, PeerId } from '../src/core/identity.ts';
import type { PathChoice } from '../src/core/punch/situation.ts';
import type { CircuitKind, PathEvent, PathId } from '../src/core/session/events.ts';
import { HEAD_START_MS } from '../src/core/session/introduction.ts';
import type { SessionKeys } from '../src/core/session/keys.ts';
import type { SessionRole } from '../src/core/session/role.ts';
import type { Clock } from '../src/net/clock.ts';
import { CircuitKeeper } from './circuit-keeper.ts';
import type { Correspondence } from './correspondence.ts';
import type { Deployment } from './deployment.ts';
import type { EarlyLeg } from './early-leg.ts';
import { HeadStart } from './head-start.ts';
import type { Network } from './network.ts';
import { Punching } from './punching.ts';
import type { Session } from './session.ts';

export interface PathSourcesOptions {
  readonly role: SessionRole;
  readonly peer: PeerId;
  readonly keys: SessionKeys;
  /** The peer has proven that it holds them. */
  readonly confirmed: boolean;
  /** What both ends allow. */
  readonly kinds: readonly PathChoice[];
  /** Of which kinds our leg may be; any by default. */
  readonly circuits?: readonly CircuitKind[] | undefined;
  /** Our leg of the circuit, where that was opened before. */
  readonly earlyLeg: EarlyLeg | undefined;
  readonly session: Session;
  readonly correspondence: Correspondence;
  readonly identity: Identity;
  readonly network: Network;
  readonly deployment: Deployment;
  readonly clock: Clock;
  /** Asks for fresh tickets. */
  readonly renewTickets: () => void;
}

/**
 * Where a session's paths come from: a circuit, and hole punching a moment later. All that they make is secured with
 * the keys of one epoch; with the next epoch others take their place.
 */
export class PathSources {
  readonly punching: Punching;
  readonly #options: PathSourcesOptions;
  #circuit: CircuitKeeper | undefined;
  /** The circuit's, before punching. */
  #headStart: HeadStart | undefined;
  #directPaths = new Set<PathId>();
  #stopped = false;

  constructor(options: PathSourcesOptions) {
    const { session, correspondence, deployment } = options;
    this.#options = options;
    this.punching = new Punching({
      ...options,
      serverTime: () => deployment.serverTime(),
      toLocal: (time) => deployment.toLocal(time),
      propose: (round) => correspondence.propose(round),
      tellFresh: (candidate, round) => correspondence.tellFresh(candidate, round),
      tellSample: (candidate) => correspondence.tellSample(candidate),
      onPath: (path) => {
        if (this.#stopped) path.pipe.destroy();
        else session.addDirectPath(path);
      },
      onTrace: (line) => session.note(line),
      onKeepalive: (everyMs) => session.driver.keepAlive(everyMs),
      onFailed: (verdict) => session.punchingFailed(verdict),
    });
  }

  /** Dials the relay, where that is allowed; what comes `afterHeadStart` waits for it a moment. Without tickets, once there are some. */
  openCircuit(tickets: readonly Uint8Array[]): void {
    const { session, kinds, earlyLeg, deployment, clock } = this.#options;
    if (!kinds.includes('relay')) return earlyLeg?.discard();
    this.#circuit = new CircuitKeeper(
      {
        ...this.#options,
        link: (relay) => deployment.relay(relay),
        serverTime: () => deployment.serverTime(),
        renew: this.#options.renewTickets,
        onPath: (path) => {
          if (this.#stopped) path.pipe.destroy();
          else session.addCircuit(path);
        },
        onFailure: ({ message }) => session.note({ transport: 'relay', stage: 'relay', text: message }),
      },
      tickets,
    );
    if (this.punching.confirmed) this.#circuit.confirm();
    if (this.punching.allowed && tickets.length > 0) this.#headStart = new HeadStart(clock, HEAD_START_MS);
  }

  takeTickets(tickets: readonly Uint8Array[]): void {
    this.#circuit?.take(tickets);
  }

  /** At once, where the circuit has none, or has had it. */
  afterHeadStart(act: () => void): void {
    if (this.#headStart) this.#headStart.after(act);
    else act();
  }

  /** The peer has proven that it holds the keys. */
  confirm(): void {
    this.punching.confirm();
    this.#circuit?.confirm();
  }

  /** The session wants a path, now. */
  hurry(): void {
    this.#headStart?.end();
    this.punching.wake();
  }

  /** What became of a path of the session's. */
  follow({ path: { id, direct }, state }: PathEvent): void {
    if (!direct) return;
    if (state === 'down' && !this.#directPaths.delete(id)) this.punching.wake();
    else if (state === 'down') this.punching.pathDown();
    else if (!this.#directPaths.has(id)) {
      this.#directPaths.add(id);
      this.punching.pathUp();
    }
  }

  /** What was secured with these keys, and is not attached by now, comes too late. */
  stop(): void {
    this.#stopped = true;
    this.#headStart?.stop();
    this.punching.stop();
    this.#circuit?.stop();
  }
}
