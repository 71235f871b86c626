import { Rotation, type RotationInput, type RotationOutput } from '../src/core/punch/rotation.ts';
import type { PathEvent, PathId, PathInfo } from '../src/core/session/events.ts';
import type { Clock } from '../src/net/clock.ts';
import { Driver } from '../src/net/driver.ts';
import type { Session } from './session.ts';

export interface PathRotationOptions {
  readonly session: Session;
  readonly clock: Clock;
  /** Makes another direct path by UDP, from ports that nothing has used; what is there stays meanwhile. */
  readonly rotate: () => void;
}

/** Both ends have sent on the new path by then, and what was under way on the old one has arrived. */
const LEAVE_AFTER_MS = 1_000;

/**
 * Keeps a session from falling with a NAT's mappings that end at a constant age: make before break. The initiator
 * watches and has another path made in time; both ends leave the older of two.
 */
export class PathRotation {
  #options: PathRotationOptions;
  #driver: Driver<RotationInput, RotationOutput>;
  /** Those that are up, the oldest first. */
  #paths: PathId[] = [];
  #cancelLeaving: (() => void) | undefined;

  constructor(options: PathRotationOptions) {
    const { session, clock, rotate } = options;
    this.#options = options;
    this.#driver = new Driver(new Rotation(), clock, ({ lifetimeMs }) => {
      const seconds = Math.round(lifetimeMs / 1_000);
      const text = `direct paths were lost at an age of ${seconds} s; another is made before this one is`;
      session.note({ transport: 'udp', stage: 'rotation', text });
      rotate();
    });
    session.driver.on('path', (event) => this.#onPath(event));
  }

  stop(): void {
    this.#driver.stop();
    this.#cancelLeaving?.();
  }

  #onPath({ path, state }: PathEvent): void {
    if (!hasCheapMappings(path) || state === 'active') return;
    if (this.#options.session.role === 'initiator') this.#driver.handle({ type: state, path: path.id });
    this.#paths = this.#paths.filter((id) => id !== path.id);
    if (state === 'up') this.#follow(path.id);
  }

  #follow(newest: PathId): void {
    const { session, clock } = this.#options;
    this.#paths.push(newest);
    this.#cancelLeaving?.();
    this.#cancelLeaving = clock.setTimer(() => {
      if (this.#paths.at(-1) !== newest) return;
      for (const older of this.#paths.slice(0, -1)) {
        session.driver.removePath(older, 'a path with newer mappings took its place');
      }
    }, LEAVE_AFTER_MS);
  }
}

/** Through NATs, and nothing had to be searched for: another such path costs a few packets. */
function hasCheapMappings({ kind, technique }: PathInfo): boolean {
  return kind === 'udp' && (technique === 'simultaneous probes' || technique === 'peer-reflexive answer');
}
