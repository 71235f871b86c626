import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
let copy: string;

beforeEach(() => {
  copy = mkdtempSync(join(tmpdir(), 'sallyport-layers-'));
  cpSync(join(root, '.oxlintrc.json'), join(copy, '.oxlintrc.json'));
});
afterEach(() => rmSync(copy, { recursive: true }));

/** What the repository's own rules say of one file at that place. */
function lint(path: string, source: string): string {
  mkdirSync(dirname(join(copy, path)), { recursive: true });
  writeFileSync(join(copy, path), source);
  const { stdout } = spawnSync(join(root, 'node_modules/.bin/oxlint'), [path], {
    cwd: copy,
    encoding: 'utf8',
  });
  return stdout;
}

describe('the layers', () => {
  it.each([
    ['a socket', "import { connect } from 'node:net';\nexport const dial = connect;\n", 'core does no I/O'],
    [
      'a WebSocket',
      "import { WebSocket } from 'ws';\nexport const socket = WebSocket;\n",
      'core does no I/O',
    ],
    [
      'a role',
      "import { Peer } from '../../peer/peer.ts';\nexport const peer = Peer;\n",
      'core knows no role',
    ],
    [
      'an adapter',
      "import { systemClock } from '../net/clock.ts';\nexport const clock = systemClock;\n",
      'core knows no role',
    ],
    [
      'a timer',
      'export const later = (fn: () => void) => setTimeout(fn, 1);\n',
      "Unexpected use of 'setTimeout'",
    ],
    ['a clock', 'export const time = () => Date.now();\n', 'Date.now'],
    ['another clock', 'export const time = () => performance.now();\n', 'performance.now'],
  ])('keep %s out of src/core', (_, source, complaint) => {
    expect(lint('src/core/planted.ts', source)).toContain(complaint);
  });

  it.each([
    ['peer/planted.ts', '../rendezvous/server.ts'],
    ['peer/commands/planted.ts', '../../relay/server.ts'],
    ['rendezvous/planted.ts', '../relay/server.ts'],
    ['relay/planted.ts', '../peer/peer.ts'],
  ])('keep the roles apart: %s may not import %s', (path, target) => {
    const source = `import { thing } from '${target}';\nexport const planted = thing;\n`;
    expect(lint(path, source)).toContain('roles never import each other');
  });

  it('keep roles out of the adapters, and let the composition import them', () => {
    const source = "import { Peer } from '../../peer/peer.ts';\nexport const peer = Peer;\n";
    expect(lint('src/net/planted.ts', source)).toContain('adapters know no role');
    expect(lint('src/bin/planted.ts', source)).toContain('Found 0 warnings and 0 errors');
  });
});
