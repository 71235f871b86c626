import { timingSafeEqual } from 'node:crypto';
import { Duplex } from 'node:stream';
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
 * A pipe whose first write carries our tag ahead of it and whose first 16 bytes are checked and dropped, so that the
 * ClientHello leaves in the same flight as the tag.
 */
export class TaggedPipe extends Duplex {
  readonly #pipe: Duplex;
  readonly #expected: { tagIn: Uint8Array; tagOut: Uint8Array };
  #tagSent = false;
  /** What has come of the other end's tag; `undefined` once it was checked. */
  #tag: Buffer | undefined = Buffer.alloc(0);

  constructor(pipe: Duplex, expected: { tagIn: Uint8Array; tagOut: Uint8Array }) {
    super({ allowHalfOpen: true });
    this.#pipe = pipe;
    this.#expected = expected;
    pipe.on('data', (chunk: Buffer) => this.#onData(chunk));
    pipe.on('end', () => this.#onEnd());
    pipe.on('error', (error) => this.destroy(error));
    pipe.on('close', () => this.destroy());
  }

  override _read(): void {
    this.#pipe.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#pipe.write(this.#withTag(chunk), done);
  }

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this.#pipe.cork();
    chunks.forEach(({ chunk }, index) => {
      this.#pipe.write(this.#withTag(chunk), index === chunks.length - 1 ? done : undefined);
    });
    this.#pipe.uncork();
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#pipe.end(done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#pipe.destroy();
    done(error);
  }

  #withTag(chunk: Buffer): Buffer {
    if (this.#tagSent) return chunk;
    this.#tagSent = true;
    return Buffer.concat([this.#expected.tagOut, chunk]);
  }

  #onData(chunk: Buffer): void {
    const rest = this.#tag === undefined ? chunk : this.#takeTag(chunk, this.#tag);
    if (rest.length > 0 && !this.push(rest)) this.#pipe.pause();
  }

  #takeTag(chunk: Buffer, before: Buffer): Buffer {
    const tag = Buffer.concat([before, chunk.subarray(0, TAG_BYTES - before.length)]);
    if (tag.length < TAG_BYTES) {
      this.#tag = tag;
      return Buffer.alloc(0);
    }
    this.#tag = undefined;
    try {
      checkTag(tag, this.#expected);
    } catch (error) {
      this.destroy(error as SallyportError);
      return Buffer.alloc(0);
    }
    return chunk.subarray(TAG_BYTES - before.length);
  }

  #onEnd(): void {
    if (this.#tag === undefined) this.push(null);
    else this.destroy(tagMissing());
  }
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
