import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const examples = join(root, 'docs/examples');

/** What each says when it works. */
const SAYS: Record<string, RegExp> = {
  'chat.mjs':
    /^(alice heard: hello, alice\nbob heard: hello, bob|bob heard: hello, bob\nalice heard: hello, alice)\n$/,
  'forward.mjs': /^a page of bob’s\n$/,
  'rpc.mjs': /^\[ 3, 34 \]\nSTREAM_RESET: division by zero\n$/,
  'file-drop.mjs': /^bob says thanks\nbob has: dear bob\n$/,
};

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-example-'));
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(root, join(folder, 'node_modules/sallyport'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('each example in docs/examples', () => {
  it('is run here', () => {
    expect(new Set(readdirSync(examples))).toEqual(new Set(Object.keys(SAYS)));
  });

  it.each(Object.keys(SAYS))('runs as it stands: %s', (name) => {
    cpSync(join(examples, name), join(folder, name));
    const env = { ...process.env, XDG_CONFIG_HOME: folder, XDG_STATE_HOME: folder, SALLYPORT_HOME: '' };
    const options = { cwd: folder, encoding: 'utf8', timeout: 50_000, env } as const;
    const { stdout, stderr, status } = spawnSync(process.execPath, [name], options);
    expect(stderr).toBe('');
    expect(stdout).toMatch(SAYS[name]!);
    expect(status).toBe(0);
  });
});
