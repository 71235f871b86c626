import { asSallyportError, notWanted, SallyportError } from '../src/core/errors.ts';
import type { Clock } from '../src/net/clock.ts';
import { deferred } from '../src/net/deferred.ts';
import type { Conversation } from './conversation.ts';
import type { Session } from './session.ts';

/** Without the relay, `connect` waits this long for a direct path. */
const FIRST_PATH_MS = 15_000;

/**
 * Resolves once the session has its first path; a session that gets none is ended.
 * @throws SallyportError `ABORTED`, what no path came of, or what the session closed with
 */
export async function firstPath(
  conversation: Conversation,
  clock: Clock,
  signal?: AbortSignal,
): Promise<Session> {
  const { session } = conversation;
  const usable = deferred<Session>();
  const fail = (error: SallyportError) => usable.reject(error);
  const abort = () => fail(notWanted());
  const cancel = clock.setTimer(() => fail(conversation.noPath()), FIRST_PATH_MS);
  session.on('attached', () => usable.resolve(session));
  session.on('closed', ({ code, message }) => fail(new SallyportError(code ?? 'SESSION_CLOSED', message)));
  signal?.addEventListener('abort', abort);
  if (signal?.aborted) abort();
  try {
    return await usable.promise;
  } catch (thrown) {
    const { code, message } = asSallyportError(thrown);
    session.driver.destroy(code, message);
    throw thrown;
  } finally {
    cancel();
    signal?.removeEventListener('abort', abort);
  }
}
