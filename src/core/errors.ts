/**
 * Every failure that input, a peer or the network can cause is a `SallyportError` with one of these codes.
 * A broken invariant of our own throws `AssertionError` instead. `docs/errors.md` says what to do about each.
 */
export const ERROR_CODES = [
  // usage and configuration
  'USAGE',
  'CONFIG_INVALID',
  'KEY_FILE_INVALID',
  'KEY_FILE_MODE',
  'URL_INVALID',
  'PORT_IN_USE',
  // trust
  'NOT_AUTHORIZED',
  'TOKEN_INVALID',
  'IDENTITY_CHANGED',
  'NAME_UNPINNED',
  // rendezvous
  'RENDEZVOUS_UNREACHABLE',
  'PEER_OFFLINE',
  'PEER_UNKNOWN',
  'ALREADY_REGISTERED',
  'RATE_LIMITED',
  'VERSION_UNSUPPORTED',
  // relay
  'RELAY_UNREACHABLE',
  'TICKET_INVALID',
  'TICKET_EXPIRED',
  // paths and session
  'HANDSHAKE_FAILED',
  'NO_PATH',
  'PEER_LOST',
  'SESSION_UNKNOWN',
  'SESSION_CLOSED',
  'STREAM_RESET',
  'TARGET_REFUSED',
  'TARGET_UNREACHABLE',
  'SERVICE_UNKNOWN',
  // files
  'FILE_EXISTS',
  'FILE_REFUSED',
  'FILE_FAILED',
  'FILE_CHANGED',
  'DISK_FULL',
  // anywhere
  'PROTOCOL_ERROR',
  'LIMIT',
  'TIMEOUT',
  'ABORTED',
  'UNSUPPORTED',
  'INTERNAL',
] as const;

export type ErrorCode = (typeof ERROR_CODES)[number];

export interface ErrorDetails {
  /** One sentence that says what the user can do. */
  hint?: string | undefined;
  cause?: unknown;
}

export class SallyportError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'SallyportError';
    this.code = code;
    this.hint = details.hint;
  }
}

/** Whoever asked has aborted it. */
export function notWanted(): SallyportError {
  return new SallyportError('ABORTED', 'no longer wanted');
}

export function isErrorCode(text: unknown): text is ErrorCode {
  return (ERROR_CODES as readonly unknown[]).includes(text);
}

/** Whatever was thrown, as a `SallyportError`; `fallback` names what is not one already. */
export function asSallyportError(thrown: unknown, fallback: ErrorCode = 'INTERNAL'): SallyportError {
  if (thrown instanceof SallyportError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new SallyportError(fallback, message, { cause: thrown });
}
