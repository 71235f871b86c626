import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { Script } from 'node:vm';

/** What a bundled command is: an expression, so that it can be compiled and run apart. */
type Program = (require: NodeJS.Require, file: string) => void;

/**
 * Runs a bundled command, with the `require` of where it lies. What V8 made of its source when it was built lies beside it and spares the compiling, which takes longer
 * than all else that a command does until it is registered. Other code than this source's own, made by this very Node, is not used.
 */
export function launch(file: string, require: NodeJS.Require): void {
  const source = read(file);
  const script = new Script(source, { filename: file, cachedData: compiledOf(file, source) });
  (script.runInThisContext() as Program)(require, file);
}

/** Runs a bundled command to its end, then keeps all that V8 has compiled of it by then. Only for building. */
export function launchAndKeep(file: string, require: NodeJS.Require): void {
  const source = read(file);
  const script = new Script(source, { filename: file });
  process.on('exit', () => {
    const code = script.createCachedData();
    writeFileSync(compiledFile(file), Buffer.concat([digest(source, code), code]));
  });
  (script.runInThisContext() as Program)(require, file);
}

function read(file: string): string {
  return readFileSync(file, 'latin1'); // which ASCII is, and nothing is read faster
}

/** `undefined` where there is none, or where it belongs to other source or another Node, be it another platform's: V8 itself compares little more than lengths. */
function compiledOf(file: string, source: string): Buffer | undefined {
  try {
    const sealed = readFileSync(compiledFile(file));
    const code = sealed.subarray(DIGEST_BYTES);
    return digest(source, code).equals(sealed.subarray(0, DIGEST_BYTES)) ? code : undefined;
  } catch {
    return undefined;
  }
}

function compiledFile(bundle: string): string {
  return bundle.replace(/\.cjs$/, '.compiled');
}

function digest(source: string, code: Uint8Array): Buffer {
  const node = `${process.version} ${process.platform} ${process.arch} `;
  return createHash('sha256').update(node).update(source, 'latin1').update(code).digest();
}

const DIGEST_BYTES = 32;
