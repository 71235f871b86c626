import type { Reporter } from '../../src/cli/reporter.ts';
import { systemClock } from '../../src/net/clock.ts';
import type { Session } from '../session.ts';

const EVERY_MS = 500;
/** Without a byte, until that is told. */
const STANDS_MS = 5_000;
/** How much of the rate's last value stays with each half second. */
const INERTIA = 0.7;

/** Tells how a transfer goes, twice a second: the rate, what is left, and the kind of path, which may change. */
export class Progress {
  readonly #reporter: Reporter;
  readonly #session: Pick<Session, 'id' | 'path'>;
  /** Bytes in all; unknown to who receives. */
  #total: number | undefined;
  readonly #began = systemClock.now();
  #cancel: (() => void) | undefined;
  #done = 0;
  #moved = 0;
  /** As it was told last: a timer is late, by seconds where this process was held up. */
  #told = { moved: 0, at: this.#began };
  #rate: number | undefined;
  /** When a byte was last sent or found to be there already, or something done that has none; `Infinity` once it was told that nothing is. */
  #wentOnAt = this.#began;

  constructor(reporter: Reporter, session: Pick<Session, 'id' | 'path'>, total?: number) {
    this.#reporter = reporter;
    this.#session = session;
    this.#total = total;
    this.#arm();
  }

  /** @param moved false for bytes that were there before */
  add(bytes: number, moved: boolean): void {
    this.#done += bytes;
    this.wentOn();
    if (moved) this.#moved += bytes;
  }

  /** Something is done, be it without a byte: a folder, or a file whose bytes were passed long ago. */
  wentOn(): void {
    this.#wentOnAt = systemClock.now();
  }

  /** The bytes in all are so many more, or fewer. */
  resize(change: number): void {
    if (this.#total !== undefined) this.#total += change;
  }

  /** Ends it, and returns what has come of it. */
  stop(): { moved: number; elapsedMs: number; rate: number } {
    this.#cancel?.();
    this.#reporter.endLive();
    const elapsedMs = Math.max(1, systemClock.now() - this.#began);
    return { moved: this.#moved, elapsedMs, rate: (1_000 * this.#moved) / elapsedMs };
  }

  #arm(): void {
    this.#cancel = systemClock.setTimer(() => {
      this.#tell();
      this.#arm();
    }, EVERY_MS);
  }

  #tell(): void {
    const [before, now] = [this.#told, { moved: this.#moved, at: systemClock.now() }];
    this.#told = now;
    const elapsedMs = now.at - before.at;
    const current = (1_000 * (now.moved - before.moved)) / elapsedMs;
    const inertia = INERTIA ** (elapsedMs / EVERY_MS);
    this.#rate = this.#rate === undefined ? current : inertia * this.#rate + (1 - inertia) * current;
    const rate = Math.round(this.#rate);
    const left = this.#total === undefined ? undefined : this.#total - this.#done;
    const etaSeconds = left === undefined || rate === 0 ? undefined : Math.ceil(left / rate);
    const path = this.#session.path?.kind;
    this.#reporter.event('progress', {
      session: this.#session.id,
      bytes: this.#done,
      total: this.#total,
      rate,
      etaSeconds,
      path,
    });
    if (now.at - this.#wentOnAt > STANDS_MS && left !== undefined) this.#tellThatItStands(path);
    this.#reporter.live(this.#words(rate, etaSeconds, path));
  }

  /** To who sends: whoever looks at no bar would see nothing at all. */
  #tellThatItStands(path: string | undefined): void {
    this.#wentOnAt = Infinity;
    const why = path
      ? 'the network stands still, the other side is busy, or what is there is being compared'
      : 'there is no path';
    this.#reporter.event('waiting', { for: 'peer' }, `nothing was sent for ${STANDS_MS / 1_000} s: ${why}`);
  }

  #words(rate: number, etaSeconds: number | undefined, path: string | undefined): string {
    const share = this.#total ? ` ${Math.floor((100 * this.#done) / this.#total)} %` : '';
    const of = this.#total === undefined ? '' : ` of ${bytesText(this.#total)}`;
    const eta = etaSeconds === undefined ? '' : `, ${secondsText(etaSeconds)} left`;
    const bar = this.#total ? barOf(this.#done / this.#total) : '';
    return `${bar}${share} ${bytesText(this.#done)}${of}, ${bytesText(rate)}/s${eta}, by ${path ?? 'no path'}`;
  }
}

export function bytesText(bytes: number): string {
  const units = ['B', 'KB', 'MB', 'GB', 'TB'];
  const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
  const value = bytes / 1_000 ** power;
  return `${power === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[power]}`;
}

function secondsText(seconds: number): string {
  const [hours, minutes] = [Math.floor(seconds / 3_600), Math.floor((seconds % 3_600) / 60)];
  const two = (n: number) => String(n).padStart(2, '0');
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}

function barOf(share: number): string {
  const width = 20;
  const full = Math.min(width, Math.floor(share * width));
  return `${'█'.repeat(full)}${'░'.repeat(width - full)}`;
}
