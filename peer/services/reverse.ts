import { asSallyportError, SallyportError } from '../../src/core/errors.ts';
import { concat, utf8 } from '../../src/core/bytes.ts';
import { printable } from '../../src/core/remote-failure.ts';
import type { SessionStream } from '../../src/net/session-stream.ts';
import type { ListenRequest } from '../listen-permit.ts';
import type { Session } from '../session.ts';
import { startForward, type Listening } from './forward.ts';
import type { RemoteSpec } from './forward-spec.ts';
import { take } from './take.ts';
import { startUdpForward } from './udp-forward.ts';

/**
 * `-R`: has the peer listen, and dials here for each connection that comes in there. The peer listens for as long as
 * the stream of the request lives; its answer on that stream is where:
 * ```
 *  length 1 | endpoint, as text
 * ```
 * @param onError told when the peer stops listening by itself
 * @throws SallyportError `NOT_AUTHORIZED`, `PORT_IN_USE`, `LIMIT`
 */
export async function askToListen(
  { transport, bind, port, target }: RemoteSpec,
  session: Session,
  onError: (error: Error) => void,
): Promise<Listening> {
  const stream = await session.openPurpose({ for: 'listen', transport, bind, port });
  session.asked.set(stream.id, target);
  stream.on('close', () => session.asked.delete(stream.id));
  const listen = await take(stream, readAnswer, MAX_ANSWER).catch((thrown: unknown) => {
    stream.destroy();
    throw thrown;
  });
  const failed = (error: Error) => {
    if (!session.end) onError(error); // with the session everything ends, which is told elsewhere
  };
  const stopped = () => {
    stream.destroy();
    failed(new SallyportError('SESSION_CLOSED', `the other side no longer listens on ${listen}`));
  };
  stream.on('error', failed).on('end', stopped).resume();
  return {
    listen,
    close: async () => {
      session.asked.delete(stream.id);
      stream.off('error', failed).off('end', stopped);
      stream.on('error', () => {}).end();
    },
  };
}

/**
 * Listens on a peer's behalf until the stream of its request ends.
 * @throws SallyportError `PORT_IN_USE`, `USAGE`
 */
export async function listenFor(
  request: ListenRequest,
  stream: SessionStream,
  session: Session,
): Promise<Listening> {
  const purpose = { for: 'accepted', listener: stream.id } as const;
  // What the peer can't dial, it tells its own user.
  const onError = () => {};
  const starting =
    request.transport === 'udp'
      ? startUdpForward(request, purpose, { opener: session, onError })
      : startForward(request, purpose, session, onError);
  const listening = await starting.catch((thrown: unknown) => {
    const { code, message } = asSallyportError(thrown);
    throw new SallyportError(code, `the other side can't listen: ${message}`, { cause: thrown });
  });
  let closing: Promise<void> | undefined;
  const close = () => (closing ??= listening.close());
  stream.once('close', () => void close());
  if (stream.destroyed) void close();
  stream.on('end', () => stream.end()).resume();
  const words = utf8(listening.listen);
  stream.write(concat(Uint8Array.of(words.length), words));
  return { listen: listening.listen, close };
}

function readAnswer(bytes: Uint8Array): { value: string; length: number } | undefined {
  const length = 1 + (bytes[0] ?? 0);
  if (bytes.length < length || bytes.length === 0) return undefined;
  return { value: printable(new TextDecoder().decode(bytes.subarray(1, length))), length };
}

const MAX_ANSWER = 256;
