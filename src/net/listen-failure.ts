import { SallyportError } from '../core/errors.ts';
import { outOfFiles } from './out-of-files.ts';

/**
 * Why nothing can listen at the place that somebody gave: `USAGE`, in the same words whatever was to listen there; `LIMIT` where nothing more
 * can be opened at all.
 * @param hints what to do, by the system's code, where that depends on who asks
 */
export function listenFailure(
  where: string,
  cause: NodeJS.ErrnoException,
  hints: Readonly<Record<string, string>> = {},
): SallyportError {
  const tooMany = outOfFiles(cause);
  if (tooMany) return tooMany;
  const code = cause.code ?? '';
  return new SallyportError('USAGE', `can't listen on ${where}: ${code || cause.message}`, {
    hint: hints[code] ?? HINTS[code],
    cause,
  });
}

const NO_ADDRESS = 'this name has no address; 0.0.0.0 stands for all addresses of this host';

const HINTS: Readonly<Record<string, string>> = {
  EACCES: 'ports below 1024 need privileges',
  EADDRNOTAVAIL: 'it has to be an address of this host; 0.0.0.0 stands for all of them',
  ENOTFOUND: NO_ADDRESS,
  EAI_AGAIN: NO_ADDRESS,
};
