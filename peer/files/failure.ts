import { SallyportError, type ErrorCode } from '../../src/core/errors.ts';

/** A file system's error, as what it means for one file. */
export function fileFailure(thrown: unknown, what: string): SallyportError {
  return failureBy(REASONS, thrown, what);
}

/** The same where the file is taken: the sender is told of it, and shall not look for what is missing at its own end. */
export function receiverFailure(thrown: unknown, what: string): SallyportError {
  return failureBy(RECEIVER_REASONS, thrown, what);
}

function failureBy(reasons: Reasons, thrown: unknown, what: string): SallyportError {
  if (thrown instanceof SallyportError) return thrown;
  const { code = String(thrown) } = thrown as NodeJS.ErrnoException;
  const [kind, why] = reasons[code] ?? ['FILE_FAILED', code];
  return new SallyportError(kind, `${what}: ${why}`, { cause: thrown });
}

type Reasons = Record<string, [ErrorCode, string]>;

const REASONS: Reasons = {
  ENOSPC: ['DISK_FULL', 'the disk is full'],
  EDQUOT: ['DISK_FULL', 'the quota is used up'],
  EEXIST: ['FILE_EXISTS', 'exists already, and is another file'],
  ENOENT: ['FILE_FAILED', 'there is no such file'],
  EACCES: ['FILE_FAILED', 'permission denied'],
  EPERM: ['FILE_FAILED', 'not permitted'],
  EISDIR: ['FILE_FAILED', 'is a folder'],
  ENOTDIR: ['FILE_REFUSED', 'leads through something that is no folder'],
  ELOOP: ['FILE_REFUSED', 'leads through a symbolic link'],
  EROFS: ['FILE_FAILED', 'the file system is read-only'],
};

const RECEIVER_REASONS: Reasons = {
  ...REASONS,
  ENOENT: ['FILE_FAILED', "the receiver's folder is gone, or what it held of this"],
  EACCES: ['FILE_FAILED', "permission denied in the receiver's folder"],
  EPERM: ['FILE_FAILED', "not permitted in the receiver's folder"],
};
