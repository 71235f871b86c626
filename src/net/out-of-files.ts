import { SallyportError } from '../core/errors.ts';

/** `LIMIT` where a file or socket could not be opened because there are too many; `undefined` for what failed otherwise. */
export function outOfFiles(cause: unknown): SallyportError | undefined {
  const hint = HINTS[(cause as NodeJS.ErrnoException).code ?? ''];
  return hint === undefined
    ? undefined
    : new SallyportError('LIMIT', 'no more files or sockets can be opened', { hint, cause });
}

const HINTS: Readonly<Record<string, string>> = {
  EMFILE: 'raise what this process may have open: `ulimit -n`, or LimitNOFILE= in a unit',
  ENFILE: 'raise what this computer may have open: fs.file-max',
};
