import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Environment } from './proxy.ts';

/** Where a server keeps its key and token: `--home`, `SALLYPORT_HOME`, else the XDG state folder. */
export function stateHome(given: string | undefined, environment: Environment = process.env): string {
  const chosen = given ?? environment['SALLYPORT_HOME'];
  if (chosen) return chosen;
  return join(environment['XDG_STATE_HOME'] || join(homedir(), '.local', 'state'), 'sallyport');
}
