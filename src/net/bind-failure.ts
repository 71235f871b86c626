import { SallyportError } from '../core/errors.ts';
import { outOfFiles } from './out-of-files.ts';

/** Why a port can't be had: `PORT_IN_USE`; `LIMIT` where nothing more can be opened at all; else `UNSUPPORTED`. */
export function bindFailure(message: string, cause: unknown): SallyportError {
  const inUse = (cause as NodeJS.ErrnoException).code === 'EADDRINUSE';
  return outOfFiles(cause) ?? new SallyportError(inUse ? 'PORT_IN_USE' : 'UNSUPPORTED', message, { cause });
}
