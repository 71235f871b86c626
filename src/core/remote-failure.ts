import { isErrorCode, SallyportError, type ErrorCode } from './errors.ts';

/** A failure that the other end told us of, with what can be done about it at this one. */
export function remoteFailure(
  code: unknown,
  message: string,
  fallback: ErrorCode = 'INTERNAL',
): SallyportError {
  const known = isErrorCode(code) ? code : fallback;
  return new SallyportError(known, message, { hint: HINTS[known] });
}

/** Text from the other end as part of one line: control characters could forge lines or move the cursor. */
export function printable(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, '\ufffd');
}

/** What to do about `TOKEN_INVALID`, for every role that registers. */
export const TAKE_JOIN_URL =
  'take the join URL that the rendezvous printed, whole: `peer join <url>`, or `relay start --rendezvous <url>`, with --token-file where relays have a token of their own';

const HINTS: Partial<Record<ErrorCode, string>> = {
  TOKEN_INVALID: TAKE_JOIN_URL,
  NOT_AUTHORIZED:
    'there: `peer allow` with this id, and `peer up --expose host:port` or `--expose /path` (for -R `--permit-listen port`) for what it may reach',
  ALREADY_REGISTERED:
    'stop the other one, or give this one a key of its own with --home; where it is the name that is taken, another --name',
  PEER_OFFLINE: 'check the id, and that `peer up` runs there with the same rendezvous',
  RATE_LIMITED: 'wait a little and try again',
  VERSION_UNSUPPORTED: 'bring both ends to the same version',
  TARGET_REFUSED: 'check that it runs there',
  TARGET_UNREACHABLE: 'check its name, and that the other side can reach it',
  PORT_IN_USE: 'choose another port, or 0 for any',
  FILE_EXISTS: 'there: move it away, or receive with --overwrite',
  SERVICE_UNKNOWN: 'there: peer up --expose name=host:port, or --pipe',
};
