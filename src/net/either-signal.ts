/**
 * Does `work` with a signal that is aborted as soon as one of those given is. `AbortSignal.any` would leave a weak reference in each of them for
 * every call, which stays for as long as they do.
 */
export async function withEither<Result>(
  given: readonly (AbortSignal | undefined)[],
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const signals = given.filter((signal) => signal !== undefined);
  const either = new AbortController();
  const abort = () => either.abort(signals.find(({ aborted }) => aborted)?.reason);
  for (const signal of signals) signal.addEventListener('abort', abort);
  if (signals.some(({ aborted }) => aborted)) abort();
  try {
    return await work(either.signal);
  } finally {
    for (const signal of signals) signal.removeEventListener('abort', abort);
  }
}
