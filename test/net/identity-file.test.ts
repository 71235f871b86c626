import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isPeerId } from '../../src/core/identity.ts';
import { copyIdentity, loadIdentity, rotateIdentity } from '../../src/net/identity-file.ts';

/** Loads the identity at a moment that all processes share, and prints its id. */
const PROGRAM = `
  const [module, path, at] = process.argv.slice(1);
  const { loadIdentity } = await import(module);
  while (Date.now() < Number(at));
  process.stdout.write(loadIdentity(path).id);`;

/** Replaces the key again and again, and says so once it has begun. */
const ROTATING = `
  const [module, path, retired] = process.argv.slice(1);
  const { rotateIdentity } = await import(module);
  for (let n = 0; ; n += 1) {
    rotateIdentity(path, ({ id }) => retired + '/' + id, Date.now());
    if (n === 0) process.stdout.write('begun');
  }`;

describe('an identity', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'sallyport-identity-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  function run(program: string, ...values: string[]) {
    const module = new URL('../../src/net/identity-file.ts', import.meta.url).href;
    const loader = new URL('../../scripts/ts.mjs', import.meta.url).href;
    const args = ['--import', loader, '--input-type=module', '-e', program, module, ...values];
    return spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  }

  async function idOf(path: string, at: number): Promise<string> {
    const child = run(PROGRAM, path, `${at}`);
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

  it('that took another’s place proves it, also where it was copied, and the other is kept for its owner alone', () => {
    const [key, copy, aside] = ['key', 'copy', 'aside'].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    const before = loadIdentity(key);
    const { old, identity } = rotateIdentity(key, () => aside, 1_790_000_000_000);
    expect(old.id).toBe(before.id);
    expect(identity.id).not.toBe(before.id);
    expect(identity.successions).toMatchObject([{ from: before.id, to: identity.id }]);
    copyIdentity(key, copy);
    for (const path of [key, copy]) {
      expect(loadIdentity(path)).toMatchObject({ id: identity.id, successions: identity.successions });
    }
    expect(loadIdentity(aside)).toMatchObject({ id: before.id, successions: [] });
    expect(statSync(aside).mode & 0o777).toBe(0o600);
  });

  it('with a proof that doesn’t hold, or no key at all, is not replaced', () => {
    const [key, other] = [join(folder, 'key'), join(folder, 'other')];
    const replace = (path: string) => () => rotateIdentity(path, () => join(folder, 'aside'), 0);
    expect(replace(key)).toThrow(expect.objectContaining({ code: 'USAGE' }));
    for (const path of [key, other]) {
      loadIdentity(path);
      replace(path)();
    }
    const [seed] = readFileSync(key, 'utf8').split('\n');
    const [, proof] = readFileSync(other, 'utf8').split('\n');
    for (const line of [proof, 'sallyport-successions', proof!.slice(0, -8), 'note']) {
      writeFileSync(key, `${seed}\n${line}\n`);
      expect(replace(key)).toThrow(expect.objectContaining({ code: 'KEY_FILE_INVALID' }));
    }
  });

  it('is the old one or the new one, whole, whenever the change is cut off', async () => {
    const [key, retired] = [join(folder, 'key'), join(folder, 'retired')];
    const made = new Set([loadIdentity(key).id]);
    for (let n = 0; n < 8; n += 1) {
      const child = run(ROTATING, key, retired);
      await once(child.stdout, 'data');
      await sleep(Math.random() * 30);
      child.kill('SIGKILL');
      await once(child, 'close');
      const { id, successions } = loadIdentity(key);
      for (const name of readdirSync(retired).filter(isPeerId))
        made.add(loadIdentity(join(retired, name)).id);
      expect(successions.length).toBeGreaterThan(0);
      expect(successions.map(({ from }) => from).filter((from) => !made.has(from))).toEqual([]);
      made.add(id);
    }
  }, 60_000);

  it('is one for processes that start at once with a new home', async () => {
    const path = join(folder, 'home', 'key');
    const at = Date.now() + 2_000;
    const ids = await Promise.all(Array.from({ length: 4 }, () => idOf(path, at)));
    expect(new Set(ids)).toEqual(new Set([loadIdentity(path).id]));
    expect(readdirSync(join(folder, 'home'))).toEqual(['key']);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });
});
