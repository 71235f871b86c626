let until = 0;
let awake = false;

/**
 * Keeps the event loop looking for what comes, instead of sleeping until the kernel wakes it, up to this time on `performance.now()`.
 * Everything else that is due goes on meanwhile.
 */
export function stayAwake(deadline: number): void {
  until = Math.max(until, deadline);
  if (awake) return;
  awake = true;
  setImmediate(look);
}

/** With an immediate pending the loop polls for events without waiting. */
function look(): void {
  awake = performance.now() < until;
  if (awake) setImmediate(look);
}
