import type { Duplex } from 'node:stream';
import { SallyportError } from '../core/errors.ts';

export interface StepOptions {
  /** Aborting it fails the step with `ABORTED`. */
  signal?: AbortSignal | undefined;
  /** After so many milliseconds the step fails with `TIMEOUT`. Default 5,000. */
  timeoutMs?: number | undefined;
}

export interface Settle<T> {
  resolve: (value: T) => void;
  reject: (error: SallyportError) => void;
}

/**
 * One step of making a path on `pipe`: settled by `start`, by the pipe's own end, by the clock or by the signal, whichever is first.
 * A step that fails destroys the pipe, so that no half-made path is left behind.
 *
 * @param name what is being waited for, for messages: "the path tag"
 * @param start begins the step and returns what undoes its listeners
 */
export function pipeStep<T>(
  pipe: Duplex,
  name: string,
  options: StepOptions,
  start: (settle: Settle<T>) => () => void,
): Promise<T> {
  guardErrors(pipe);
  return new Promise((resolve, reject) => {
    const { signal, timeoutMs = STEP_TIMEOUT_MS } = options;
    let undo: (() => void) | undefined;
    let settled = false;
    const settle = (act: () => void): void => {
      if (settled) return;
      settled = true;
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      pipe.off('error', onError).off('close', onClose);
      undo?.();
      act();
    };
    const fail = (error: SallyportError): void =>
      settle(() => {
        pipe.destroy();
        reject(error);
      });
    const onAbort = (): void =>
      fail(new SallyportError('ABORTED', `aborted while waiting for ${name}`, { cause: signal?.reason }));
    const onError = (cause: Error): void =>
      fail(handshakeError(cause, `the path failed while waiting for ${name}`));
    const onClose = (): void =>
      fail(new SallyportError('HANDSHAKE_FAILED', `the other end closed the path before ${name}`));
    const timer = setTimeout(
      () => fail(new SallyportError('TIMEOUT', `${name} did not come within ${timeoutMs} ms`)),
      timeoutMs,
    );

    if (signal?.aborted) return onAbort();
    if (pipe.destroyed) return onClose();
    signal?.addEventListener('abort', onAbort);
    pipe.on('error', onError).on('close', onClose);
    undo = start({ resolve: (value) => settle(() => resolve(value)), reject: fail });
    if (settled) undo();
  });
}

/** Between two steps nobody listens to the pipe; an `error` event without a listener would end the process. */
function guardErrors(pipe: Duplex): void {
  if (!pipe.listeners('error').includes(ignore)) pipe.on('error', ignore);
}

/** A failed handshake as it is told to the caller; what already is one, from a pipe that checks tags, passes. */
export function handshakeError(cause: Error, message: string): SallyportError {
  if (cause instanceof SallyportError && cause.code === 'HANDSHAKE_FAILED') return cause;
  return new SallyportError('HANDSHAKE_FAILED', message, { cause });
}

function ignore(): void {}

const STEP_TIMEOUT_MS = 5_000;
