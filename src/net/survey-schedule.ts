import type { Transport } from '../core/punch/candidate.ts';
import type { Clock } from './clock.ts';

export interface SurveyScheduleOptions {
  readonly clock: Clock;
  /** How long after the diagnosis the surveys begin. */
  readonly afterMs: number;
  /** There is something to survey. */
  readonly isPossible: (transport: Transport) => boolean;
  /** Resolves with false where other surveys have taken the place of these. */
  readonly survey: (transport: Transport) => Promise<boolean>;
  readonly onThrough: (transport: Transport) => void;
}

/** How far the surveys of one transport are. */
interface Progress {
  /** They begin with the next diagnosis that is complete. */
  isDue: boolean;
  isRunning?: boolean;
  /** Of the timer that begins them. */
  cancel?: () => void;
}

/**
 * When each transport is surveyed: a while after a diagnosis, so that a connection that is being made is left alone,
 * and then not again before it is due.
 */
export class SurveySchedule {
  readonly #options: SurveyScheduleOptions;
  readonly #progress: Record<Transport, Progress> = { udp: { isDue: true }, tcp: { isDue: true } };
  #afterMs: number;

  constructor(options: SurveyScheduleOptions) {
    this.#options = options;
    this.#afterMs = options.afterMs;
  }

  isDue(transport: Transport): boolean {
    return this.#progress[transport].isDue;
  }

  isRunning(transport: Transport): boolean {
    return this.#progress[transport].isRunning === true;
  }

  setDue(transport: Transport): void {
    this.#progress[transport].isDue = true;
  }

  /** A diagnosis is complete. */
  diagnosed(transport: Transport): void {
    const progress = this.#progress[transport];
    if (!progress.isDue) return;
    progress.cancel?.();
    progress.cancel = this.#options.clock.setTimer(() => void this.#run(transport), this.#afterMs);
  }

  /** From now on surveys begin as soon as the diagnosis is complete: nobody is connecting. */
  hurry(): void {
    this.#afterMs = 0;
    for (const transport of ['udp', 'tcp'] as const) {
      if (this.#progress[transport].cancel) this.diagnosed(transport);
    }
  }

  stop(): void {
    for (const { cancel } of Object.values(this.#progress)) cancel?.();
  }

  async #run(transport: Transport): Promise<void> {
    const { isPossible, survey, onThrough } = this.#options;
    if (!isPossible(transport)) return;
    const progress = this.#progress[transport];
    progress.isDue = false;
    progress.isRunning = true;
    if (!(await survey(transport))) return;
    progress.isRunning = false;
    onThrough(transport);
  }
}
