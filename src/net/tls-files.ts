import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { SallyportError } from '../core/errors.ts';
import { outOfFiles } from './out-of-files.ts';

export interface TlsOptions {
  readonly tlsCert?: string | undefined;
  readonly tlsKey?: string | undefined;
  readonly insecure?: boolean | undefined;
}

/**
 * Certificate and key of a server; `undefined` where cleartext was asked for in so many words.
 * @throws SallyportError `USAGE` when neither was chosen, `CONFIG_INVALID` when the files don't serve
 */
export function readTls({
  tlsCert,
  tlsKey,
  insecure,
}: TlsOptions): { cert: Buffer; key: Buffer } | undefined {
  if (insecure && (tlsCert !== undefined || tlsKey !== undefined)) {
    throw new SallyportError('USAGE', '--insecure and --tls-cert exclude each other');
  }
  if (insecure) return undefined;
  if (tlsCert === undefined || tlsKey === undefined) {
    const missing =
      tlsCert === tlsKey ? 'no TLS certificate' : tlsKey === undefined ? 'no --tls-key' : 'no --tls-cert';
    throw new SallyportError('USAGE', `${missing} was given`, {
      hint: 'give --tls-cert FILE and --tls-key FILE, or --insecure for cleartext HTTP',
    });
  }
  try {
    const tls = { cert: readFileSync(tlsCert), key: readFileSync(tlsKey) };
    createSecureContext(tls);
    return tls;
  } catch (cause) {
    const message = `can't use ${tlsCert} with ${tlsKey}: ${(cause as Error).message}`;
    const hint = 'both have to be readable PEM files that belong together';
    throw outOfFiles(cause) ?? new SallyportError('CONFIG_INVALID', message, { hint, cause });
  }
}
