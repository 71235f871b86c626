import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { VERSION } from '../../src/version.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
/** Of the same length, so that V8 takes what was compiled of the one for the other. */
const OTHER_VERSION = VERSION.replaceAll(/\d/g, '9');

/** What says whose code it is, in front of it. */
function digestOf(source: string | Buffer, code: Uint8Array, platform: string): Buffer {
  const node = `${process.version} ${platform} ${process.arch} `;
  return createHash('sha256').update(node).update(source).update(code).digest();
}

describe('code compiled ahead', () => {
  let folder: string;
  let compiled: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'sallyport-launch-'));
    for (const part of ['bin', 'cli']) {
      cpSync(join(root, 'dist/src', part), join(folder, 'src', part), { recursive: true });
    }
    cpSync(join(root, 'package.json'), join(folder, 'package.json'));
    symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
    compiled = join(folder, 'src/bin/peer.compiled');
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  /** What the launched command prints. */
  function printed(...flags: string[]): string {
    const args = [...flags, join(folder, 'src/bin/peer.js'), '--version'];
    const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
    expect(stderr).toBe('');
    return stdout.trim();
  }

  /** Changes a bundle's source and nothing about its length. */
  function changeSource(): string {
    const path = join(folder, 'src/bin/peer.cjs');
    const source = readFileSync(path, 'latin1').replaceAll(VERSION, OTHER_VERSION);
    writeFileSync(path, source, 'latin1');
    return source;
  }

  /** Has what was compiled pass for this source's. */
  function sealFor(source: string, platform: string = process.platform): void {
    const code = readFileSync(compiled).subarray(32);
    writeFileSync(compiled, Buffer.concat([digestOf(source, code, platform), code]));
  }

  it('is there for each command, and used', () => {
    for (const name of ['rendezvous', 'relay']) {
      expect(readFileSync(join(folder, `src/bin/${name}.compiled`)).length).toBeGreaterThan(100_000);
    }
    // Built anew: what runs the tests may be another Node than the one that built.
    const keep = [join(root, 'scripts/launch-and-keep.mjs'), join(folder, 'src/bin/peer.cjs'), '--version'];
    expect(spawnSync(process.execPath, keep, { encoding: 'utf8' })).toMatchObject({ status: 0, stderr: '' });
    const source = changeSource();
    sealFor(source);
    expect(printed()).toBe(VERSION); // by the source that it was compiled from, not by the one beside it
    // A package that was made on one platform is installed on all.
    sealFor(source, 'elsewhere');
    expect(printed()).toBe(OTHER_VERSION);
  });

  it.each(['peer', 'rendezvous', 'relay'])('is taken by V8 as the build has made it of %s', (name) => {
    const bin = join(root, 'dist/src/bin');
    const [source, sealed] = [
      readFileSync(join(bin, `${name}.cjs`)),
      readFileSync(join(bin, `${name}.compiled`)),
    ];
    const code = sealed.subarray(32);
    const isOfThisNode = digestOf(source, code, process.platform).equals(sealed.subarray(0, 32)); // else it isn't offered to V8
    const program = `
      const { readFileSync } = require('node:fs');
      const file = ${JSON.stringify(join(bin, name))};
      const cachedData = readFileSync(file + '.compiled').subarray(32);
      const source = readFileSync(file + '.cjs', 'latin1');
      console.log(new (require('node:vm').Script)(source, { filename: file + '.cjs', cachedData }).cachedDataRejected);`;
    const { stdout } = spawnSync(process.execPath, ['-e', program], { encoding: 'utf8' });
    expect(stdout.trim()).toBe(isOfThisNode ? 'false' : 'true');
  });

  it('is not used for other source', () => {
    changeSource();
    expect(printed()).toBe(OTHER_VERSION);
  });

  it.each<[string, (bytes: Buffer) => Buffer]>([
    ['empty', () => Buffer.alloc(0)],
    ['cut short', (bytes) => bytes.subarray(0, bytes.length / 2)],
    ['damaged', (bytes) => bytes.fill(0xff, bytes.length - 5_000, bytes.length - 4_000)],
    ['of another Node', (bytes) => bytes.fill(0, 0, 32)],
  ])('does no harm when it is %s', (_, spoil) => {
    writeFileSync(compiled, spoil(readFileSync(compiled)));
    expect(printed()).toBe(VERSION);
  });

  it('may be missing', () => {
    rmSync(compiled);
    expect(printed()).toBe(VERSION);
  });

  it('is left alone by a V8 with other flags', () => {
    expect(printed('--max-old-space-size=128', '--no-opt')).toBe(VERSION);
  });

  it('is not written to, so that an installation may be read-only', () => {
    const before = readFileSync(compiled);
    expect(printed()).toBe(VERSION);
    expect(readFileSync(compiled).equals(before)).toBe(true);
  });
});
