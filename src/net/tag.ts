import { timingSafeEqual } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { SallyportError } from '../core/errors.ts';
import { pipeStep } from './step.ts';
import type { StepOptions } from './step.ts';

/** What each end of a path writes first: it names session, epoch, kind and role to those who know the session secret. */
const TAG_BYTES = 16;

/**
 * Reads the 16 bytes that open every path; what came right behind them stays in the pipe for TLS.
 * An acceptor on a shared port finds the session by the result. Fails with `HANDSHAKE_FAILED`, `TIMEOUT` or `ABORTED`, and then destroys the pipe.
 */
export function readTag(pipe: Duplex, options: StepOptions = {}): Promise<Uint8Array> {
  return pipeStep(pipe, 'the path tag', options, ({ resolve, reject }) => {
    const take = (): void => {
      const tag: Buffer | null = pipe.read(TAG_BYTES);
      if (tag === null) return;
      if (tag.length < TAG_BYTES) return reject(tagMissing());
      if (pipe.readableLength > PRE_AUTH_BYTES) return reject(tooEager());
      resolve(tag);
    };
    const onEnd = (): void => reject(tagMissing());
    pipe.on('readable', take).on('end', onEnd);
    if (pipe.readableLength >= TAG_BYTES) take();
    return () => pipe.off('readable', take).off('end', onEnd);
  });
}

/** Throws `HANDSHAKE_FAILED` unless `tag` is the one expected; our own tag coming back is named as a reflection. */
export function checkTag(tag: Uint8Array, expected: { tagIn: Uint8Array; tagOut: Uint8Array }): void {
  if (timingSafeEqual(tag, expected.tagIn)) return;
  const reflected = timingSafeEqual(tag, expected.tagOut);
  throw new SallyportError(
    'HANDSHAKE_FAILED',
    reflected ? 'our own path tag came back' : 'the path tag belongs to no such session',
  );
}

/**
 * Takes the other end's tag from the first bytes that the pipe pushes and checks it; what comes behind it is all that the pipe's reader sees.
 * A tag that is wrong or missing destroys the pipe. No layer is left above the pipe afterwards, as each costs a tenth of a round trip.
 */
export function dropTag(pipe: Duplex, expected: { tagIn: Uint8Array; tagOut: Uint8Array }): void {
  const push = pipe.push.bind(pipe);
  let before = Buffer.alloc(0);
  pipe.push = (chunk: Buffer | null) => {
    if (chunk === null) {
      pipe.destroy(tagMissing());
      return false;
    }
    const tag = Buffer.concat([before, chunk.subarray(0, TAG_BYTES - before.length)]);
    const rest = chunk.subarray(TAG_BYTES - before.length);
    before = tag;
    if (tag.length < TAG_BYTES) return true;
    pipe.push = push;
    try {
      checkTag(tag, expected);
    } catch (error) {
      pipe.destroy(error as SallyportError);
      return false;
    }
    return rest.length === 0 || push(rest);
  };
  const early: Buffer | null = pipe.read();
  if (early !== null) pipe.push(early);
}

function tagMissing(): SallyportError {
  return new SallyportError('HANDSHAKE_FAILED', 'the other end closed the path before its tag');
}

function tooEager(): SallyportError {
  return new SallyportError(
    'HANDSHAKE_FAILED',
    `more than ${PRE_AUTH_BYTES} bytes came before the path was authenticated`,
  );
}

/** A ClientHello is at most 1.7 KB with a hybrid key share; nothing else may come before we have answered. */
const PRE_AUTH_BYTES = 4_096;
