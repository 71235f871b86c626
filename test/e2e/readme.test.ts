import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-readme-'));
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(root, join(folder, 'node_modules/sallyport'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('the README', () => {
  it('shows an example that runs as it stands', () => {
    const example = /```ts\n([^`]+)```/.exec(readFileSync(join(root, 'README.md'), 'utf8'))?.[1];
    writeFileSync(join(folder, 'example.mjs'), example!);
    const environment = {
      ...process.env,
      XDG_CONFIG_HOME: folder,
      XDG_STATE_HOME: folder,
      SALLYPORT_HOME: '',
    };
    const { stdout, stderr, status } = spawnSync(process.execPath, ['example.mjs'], {
      cwd: folder,
      encoding: 'utf8',
      timeout: 50_000,
      env: environment,
    });
    expect(stderr).toBe('');
    expect(stdout).toMatch(/^hello by (relay-h1|udp|tcp)\ndirect by (udp|tcp)\n$/);
    expect(status).toBe(0);
  });

  it('names only scripts that exist', () => {
    const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: object };
    const named = readFileSync(join(root, 'README.md'), 'utf8').matchAll(/npm run (\w+)/g);
    for (const [, name] of named) expect(Object.keys(scripts)).toContain(name);
  });
});
