import { randomBytes } from 'node:crypto';
import { SallyportError } from '../core/errors.ts';
import { base64url } from '../core/bytes.ts';
import { createPrivateFile, readPrivateFile } from './private-file.ts';

const MIN_LENGTH = 16;
const MAX_LENGTH = 256;

/** The join token kept in `path`. @throws SallyportError `CONFIG_INVALID`, `KEY_FILE_MODE` */
export function readJoinToken(path: string): string {
  const token = readPrivateFile(path)?.trim();
  if (token === undefined) throw new SallyportError('CONFIG_INVALID', `there is no token file ${path}`);
  if (token.length < MIN_LENGTH || token.length > MAX_LENGTH || /\s/.test(token)) {
    throw new SallyportError('CONFIG_INVALID', `${path} holds no join token`, {
      hint: `a token has ${MIN_LENGTH} to ${MAX_LENGTH} characters without white space; remove the file to get a new one`,
    });
  }
  return token;
}

/** The same, made at first start. */
export function loadJoinToken(path: string): string {
  if (readPrivateFile(path) === undefined) createPrivateFile(path, `${base64url(randomBytes(18))}\n`);
  return readJoinToken(path);
}
