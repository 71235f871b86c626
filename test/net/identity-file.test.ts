import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { copyIdentity, loadIdentity } from '../../src/net/identity-file.ts';

/** Loads the identity at a moment that all processes share, and prints its id. */
const PROGRAM = `
  const [module, path, at] = process.argv.slice(1);
  const { loadIdentity } = await import(module);
  while (Date.now() < Number(at));
  process.stdout.write(loadIdentity(path).id);`;

describe('an identity', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'sallyport-identity-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  async function idOf(path: string, at: number): Promise<string> {
    const module = new URL('../../src/net/identity-file.ts', import.meta.url).href;
    const loader = new URL('../../scripts/ts.mjs', import.meta.url).href;
    const args = ['--import', loader, '--input-type=module', '-e', PROGRAM, module, path, `${at}`];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    const [id] = await Promise.all([text(child.stdout), once(child, 'close')]);
    return id;
  }

  it('is copied for its owner alone, and never over what is there', () => {
    const [key, copy, note] = ['key', 'copy', 'note'].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    const { id } = loadIdentity(key);
    copyIdentity(key, copy);
    expect(loadIdentity(copy).id).toBe(id);
    expect(statSync(copy).mode & 0o777).toBe(0o600);
    writeFileSync(note, 'milk');
    for (const taken of [copy, note])
      expect(() => copyIdentity(key, taken)).toThrow(expect.objectContaining({ code: 'USAGE' }));
    expect(readFileSync(note, 'utf8')).toBe('milk');
    expect(() => copyIdentity(join(folder, 'none'), join(folder, 'new'))).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID' }),
    );
    expect(readdirSync(folder).toSorted()).toEqual(['copy', 'key', 'note']);
  });

  it('is one for processes that start at once with a new home', async () => {
    const path = join(folder, 'home', 'key');
    const at = Date.now() + 2_000;
    const ids = await Promise.all(Array.from({ length: 4 }, () => idOf(path, at)));
    expect(new Set(ids)).toEqual(new Set([loadIdentity(path).id]));
    expect(readdirSync(join(folder, 'home'))).toEqual(['key']);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });
});
