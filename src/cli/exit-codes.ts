import type { ErrorCode } from '../core/errors.ts';

/** Exit codes of every command (docs/errors.md). */
export const EXIT = {
  done: 0,
  failed: 1,
  usage: 2,
  notAuthorized: 3,
  peerOffline: 4,
  rendezvousUnreachable: 5,
  noPath: 6,
} as const;

const BY_CODE: Partial<Record<ErrorCode, number>> = {
  USAGE: EXIT.usage,
  CONFIG_INVALID: EXIT.usage,
  KEY_FILE_INVALID: EXIT.usage,
  KEY_FILE_MODE: EXIT.usage,
  URL_INVALID: EXIT.usage,
  PORT_IN_USE: EXIT.usage,
  UNSUPPORTED: EXIT.usage,
  ALREADY_REGISTERED: EXIT.usage,
  NOT_AUTHORIZED: EXIT.notAuthorized,
  TOKEN_INVALID: EXIT.notAuthorized,
  IDENTITY_CHANGED: EXIT.notAuthorized,
  NAME_UNPINNED: EXIT.notAuthorized,
  PEER_OFFLINE: EXIT.peerOffline,
  PEER_UNKNOWN: EXIT.peerOffline,
  RENDEZVOUS_UNREACHABLE: EXIT.rendezvousUnreachable,
  NO_PATH: EXIT.noPath,
};

export function exitCodeOf(code: ErrorCode): number {
  return BY_CODE[code] ?? EXIT.failed;
}
