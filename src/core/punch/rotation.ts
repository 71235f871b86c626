import type { Instant, Machine } from '../machine.ts';
import type { PathId } from '../session/events.ts';

/** Of direct paths by UDP alone. `down` means lost; a path that was left for another is no longer of interest. */
export type RotationInput =
  { readonly type: 'up'; readonly path: PathId } | { readonly type: 'down'; readonly path: PathId };

/** Make another path now: this one isn't expected to live longer than `lifetimeMs`. */
export interface RotationOutput {
  readonly type: 'rotate';
  readonly lifetimeMs: number;
}

/**
 * Some NATs end a mapping at a constant age, whatever traffic it carries. Two paths in a row that were lost at the same
 * age show it; from then on another path, with mappings of its own, is made before that age.
 *
 * A path that outlives the age refutes it. Since paths that are replaced in time outlive nothing, one in
 * `REPLACED_IN_A_ROW` is left to itself.
 */
export class Rotation implements Machine<RotationInput, RotationOutput> {
  /** Those that are up, and since when. The newest is watched; the others are about to be left for it. */
  #paths: { readonly id: PathId; readonly since: Instant }[] = [];
  #rotateAt: Instant | undefined;
  #lastAgeMs: number | undefined;
  /** The age that no path is expected to outlive. */
  #lifetimeMs: number | undefined;
  #replaced = 0;
  #output: RotationOutput | undefined;

  get deadline(): Instant | undefined {
    return this.#rotateAt;
  }

  handle({ type, path }: RotationInput, now: Instant): void {
    if (type === 'up') return this.#up(path, now);
    const newest = this.#paths.at(-1);
    this.#paths = this.#paths.filter(({ id }) => id !== path);
    if (newest?.id === path) this.#lost(now - newest.since);
  }

  handleTimeout(now: Instant): void {
    if (this.#rotateAt === undefined || this.#rotateAt > now) return;
    this.#rotateAt = undefined;
    this.#output = { type: 'rotate', lifetimeMs: this.#lifetimeMs! };
  }

  poll(): RotationOutput | undefined {
    const output = this.#output;
    this.#output = undefined;
    return output;
  }

  #up(id: PathId, now: Instant): void {
    if (this.#paths.length > 0) this.#replaced++;
    this.#paths.push({ id, since: now });
    this.#watch();
  }

  /** The newest, which after the loss of a newer one may be rather old. */
  #watch(): void {
    const newest = this.#paths.at(-1);
    const isDue = newest && this.#lifetimeMs !== undefined && this.#replaced < REPLACED_IN_A_ROW;
    this.#rotateAt = isDue ? newest.since + ROTATE_AT_SHARE * this.#lifetimeMs! : undefined;
  }

  #lost(ageMs: number): void {
    this.#replaced = 0;
    this.#judge(ageMs);
    this.#watch();
  }

  #judge(ageMs: number): void {
    const before = this.#lastAgeMs;
    this.#lastAgeMs = ageMs;
    if (this.#lifetimeMs !== undefined && ageMs > OUTLIVED * this.#lifetimeMs) this.#lifetimeMs = undefined;
    if (before === undefined || Math.min(ageMs, before) < LEAST_MS) return;
    if (Math.abs(ageMs - before) <= NOTICED_WITHIN_MS + ALIKE * Math.min(ageMs, before)) {
      this.#lifetimeMs = Math.min(ageMs, before);
    }
  }
}

/** Ages that differ by no more than this share count as one, since a loss is noticed sooner or later. */
const ALIKE = 0.1;
const NOTICED_WITHIN_MS = 2_000;
/** Of the age that is expected: the rest is for making the other path, and for noticing a loss late. */
const ROTATE_AT_SHARE = 0.8;
const OUTLIVED = 1.2;
/** Paths that die sooner aren't worth replacing all the time. */
const LEAST_MS = 10_000;
const REPLACED_IN_A_ROW = 16;
