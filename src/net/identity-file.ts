import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { SallyportError } from '../core/errors.ts';
import { fromBase64url, base64url } from '../core/bytes.ts';
import { identityFromSeed, type Identity } from '../core/identity.ts';
import { encodeSuccessions, readSuccessions, successionsTo } from '../core/succession.ts';
import { createPrivateFile, readPrivateFile, writePrivateFile } from './private-file.ts';

const HEADER = 'sallyport-ed25519-seed';
/** Behind the seed, in the file of a key that took another's place: what proves that. */
const SUCCESSIONS = 'sallyport-successions';

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

/**
 * Puts a new key into `path` by the old one's word. What was there is kept in `asideOf` its identity first. The new key and
 * the proof that it took the old one's place are one file: whenever this is interrupted, the old identity is there or the new one.
 * @throws SallyportError `USAGE` where there is no key; `KEY_FILE_MODE`, `KEY_FILE_INVALID`, `CONFIG_INVALID`
 */
export function rotateIdentity(
  path: string,
  asideOf: (old: Identity) => string,
  time: number,
): { old: Identity; aside: string; identity: Identity } {
  const text = readPrivateFile(path);
  if (text === undefined) throw new SallyportError('USAGE', `there is no key ${path} to replace`);
  const old = identityOf(text, path);
  const seed = randomBytes(32);
  const successions = successionsTo(identityFromSeed(seed).id, old, time);
  const aside = asideOf(old);
  writePrivateFile(aside, text);
  const proof = `${SUCCESSIONS} ${base64url(encodeSuccessions(successions))}\n`;
  writePrivateFile(path, `${keyLine(seed)}${proof}`);
  return { old, aside, identity: identityFromSeed(seed, successions) };
}

function identityOf(text: string, path: string): Identity {
  const [header, encoded, mark, proof = '', ...rest] = text.trim().split(/\s+/);
  const seed = fromBase64url(encoded ?? '');
  if (header !== HEADER || seed.length !== 32 || rest.length > 0) throw damaged(path);
  const identity = identityFromSeed(seed);
  if (mark === undefined) return identity;
  const successions = readSuccessions(fromBase64url(proof), identity.id);
  if (mark !== SUCCESSIONS || successions.length === 0) throw damaged(path);
  return identityFromSeed(seed, successions);
}

function keyLine(seed: Uint8Array): string {
  return `${HEADER} ${base64url(seed)}\n`;
}

function damaged(path: string): SallyportError {
  return new SallyportError('KEY_FILE_INVALID', `${path} is damaged: not a Sallyport key`, {
    hint: 'restore it from a backup, or move it away to get a new identity',
  });
}

/** What is made is read again: of commands that start at once with a new home, one makes the key that all have. */
function createIdentity(path: string): string {
  createPrivateFile(path, keyLine(randomBytes(32)));
  return readPrivateFile(path) ?? '';
}
