/** Milliseconds on a monotonic clock. A machine is told the time; it never asks. */
export type Instant = number;

/**
 * A protocol state machine without sockets, timers or clock.
 *
 * The rule that everyone who runs one obeys: one mutation (`handle` or `handleTimeout`), then `poll` until it
 * returns `undefined`, then arm one timer at `deadline`.
 */
export interface Machine<Input, Output> {
  /** When `handleTimeout` is next due; `undefined` when only input can move the machine. */
  readonly deadline: Instant | undefined;
  handle(input: Input, now: Instant): void;
  handleTimeout(now: Instant): void;
  /** The next thing to do, oldest first; `undefined` once drained. */
  poll(): Output | undefined;
}

/** The earliest of several deadlines; `undefined` when none is set. */
export function earliest(...deadlines: (Instant | undefined)[]): Instant | undefined {
  let first: Instant | undefined;
  for (const deadline of deadlines) {
    if (deadline !== undefined && (first === undefined || deadline < first)) first = deadline;
  }
  return first;
}
