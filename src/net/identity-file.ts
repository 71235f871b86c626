import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { SallyportError } from '../core/errors.ts';
import { fromBase64url, base64url } from '../core/bytes.ts';
import { identityFromSeed, type Identity } from '../core/identity.ts';
import { createPrivateFile, readPrivateFile } from './private-file.ts';

const HEADER = 'sallyport-ed25519-seed';

/**
 * The identity kept in `path`, made on first use. A damaged file is an error, never a new identity.
 * @throws SallyportError `KEY_FILE_MODE`, `KEY_FILE_INVALID`
 */
export function loadIdentity(path: string): Identity {
  return identityOf(readPrivateFile(path) ?? createIdentity(path), path);
}

/**
 * Puts the key that is kept in `from` into a new file, for its owner alone.
 * @throws SallyportError `USAGE` where there is such a file; `CONFIG_INVALID`, `KEY_FILE_MODE`, `KEY_FILE_INVALID`
 */
export function copyIdentity(from: string, to: string): void {
  const text = readPrivateFile(from);
  if (text === undefined) throw new SallyportError('CONFIG_INVALID', `there is no key file ${from}`);
  identityOf(text, from);
  if (existsSync(to))
    throw new SallyportError('USAGE', `${to} exists, and is left alone`, {
      hint: 'choose another file or home, or move it away',
    });
  createPrivateFile(to, text);
}

function identityOf(text: string, path: string): Identity {
  const [header, encoded, ...rest] = text.trim().split(/\s+/);
  const seed = fromBase64url(encoded ?? '');
  if (header !== HEADER || seed.length !== 32 || rest.length > 0) {
    throw new SallyportError('KEY_FILE_INVALID', `${path} is damaged: not a Sallyport key`, {
      hint: 'restore it from a backup, or move it away to get a new identity',
    });
  }
  return identityFromSeed(seed);
}

/** What is made is read again: of commands that start at once with a new home, one makes the key that all have. */
function createIdentity(path: string): string {
  createPrivateFile(path, `${HEADER} ${base64url(randomBytes(32))}\n`);
  return readPrivateFile(path) ?? '';
}
