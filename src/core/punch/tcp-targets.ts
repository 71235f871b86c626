import { sameEndpoint, type Endpoint } from '../endpoint.ts';
import { earliest, type Instant } from '../machine.ts';
import type { ConnectionId, RemoteCandidate } from './events.ts';

/** One address of the peer's that is dialled until it answers or its attempts are used up. */
export interface TcpTarget {
  readonly endpoint: Endpoint;
  /** The mapping of the peer's held port; else the address of a listener. */
  readonly mapping: boolean;
  /** The rendezvous saw the peer there. */
  readonly attested: boolean;
  attemptsLeft: number;
  /** A dial has left. */
  wasDialed: boolean;
  /** When it is to be dialled; `undefined` where it isn't any more. */
  nextAt: Instant | undefined;
  dialing: ConnectionId | undefined;
}

interface Dial {
  readonly target: TcpTarget;
  readonly giveUpAt: Instant;
}

/** Dials to a listener's address; each may send a second SYN after a second. */
const LISTENER_ATTEMPTS = 4;

/** Dials from the held port to a mapping that nobody vouched for. */
const UNATTESTED_ATTEMPTS = 5;

/** The peer's addresses, and the dials that are under way to them: one at a time to each. */
export class TcpTargets {
  readonly #targets: TcpTarget[] = [];
  readonly #dials = new Map<ConnectionId, Dial>();

  /** When something is to be dialled or given up. */
  get deadline(): Instant | undefined {
    const retries = this.#targets.map(({ nextAt, dialing }) => (dialing === undefined ? nextAt : undefined));
    const patience = [...this.#dials.values()].map(({ giveUpAt }) => giveUpAt);
    return earliest(...retries, ...patience);
  }

  get all(): readonly TcpTarget[] {
    return this.#targets;
  }

  /** The mapping of the peer's held port, where it is known. */
  get mapping(): TcpTarget | undefined {
    return this.#targets.find(({ mapping }) => mapping);
  }

  at(endpoint: Endpoint): TcpTarget | undefined {
    return this.#targets.find((target) => sameEndpoint(target.endpoint, endpoint));
  }

  /** `undefined` for an address that is among them already. */
  add({ type, endpoint, attested }: RemoteCandidate): TcpTarget | undefined {
    if (this.at(endpoint)) return undefined;
    const mapping = type === 'srflx';
    const attemptsLeft = !mapping ? LISTENER_ATTEMPTS : attested ? Infinity : UNATTESTED_ATTEMPTS;
    const idle = { wasDialed: false, nextAt: undefined, dialing: undefined };
    const target: TcpTarget = { endpoint, mapping, attested, attemptsLeft, ...idle };
    this.#targets.push(target);
    return target;
  }

  /** Those whose time has come. */
  due(now: Instant): TcpTarget[] {
    return this.#targets.filter(
      ({ dialing, nextAt }) => dialing === undefined && nextAt !== undefined && nextAt <= now,
    );
  }

  /** A dial leaves. */
  dial(target: TcpTarget, id: ConnectionId, giveUpAt: Instant): void {
    target.attemptsLeft--;
    target.wasDialed = true;
    target.dialing = id;
    this.#dials.set(id, { target, giveUpAt });
  }

  /** Where that dial led, which is over; `undefined` where it was none of these. */
  ended(id: ConnectionId): TcpTarget | undefined {
    const target = this.#dials.get(id)?.target;
    if (!target) return undefined;
    this.#dials.delete(id);
    target.dialing = undefined;
    return target;
  }

  /** Dials that have been silent for too long. */
  overdue(now: Instant): ConnectionId[] {
    return [...this.#dials].filter(([, { giveUpAt }]) => giveUpAt <= now).map(([id]) => id);
  }

  /** Dials under way to targets that `isMeant`. */
  dialing(isMeant: (target: TcpTarget) => boolean = () => true): ConnectionId[] {
    return [...this.#dials].filter(([, { target }]) => isMeant(target)).map(([id]) => id);
  }

  /** Forgets the dials that are under way. */
  clear(): void {
    this.#dials.clear();
  }
}
