import { randomBytes } from 'node:crypto';
import { chownSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { answers, ClientStage, freePort, HANG } from './client-stage.ts';
import { installed, pathOf, runProgram, startProgram } from './programs.ts';

// Programs too large to be installed for every run of the tests: `npm run clients` installs them.

vi.setConfig({ testTimeout: 180_000 });

let stage: ClientStage;
beforeEach(() => {
  stage = new ClientStage();
});
afterEach(() => stage.close());

const [SCRIPTS, IMAGES, STYLES] = [60, 60, 20];

/** A page with this many resources of up to 200 KB, which counts what has loaded in its title. */
function page(): string {
  const many = (count: number, tag: (index: number) => string) =>
    Array.from({ length: count }, (_, index) => tag(index)).join('');
  return `<!doctype html><title>…</title>
${many(STYLES, (index) => `<link rel="stylesheet" href="/${index}.css">`)}
<body onload="
  const images = [...document.images].filter(({ naturalWidth }) => naturalWidth === 3).length;
  const styles = [...document.styleSheets].filter(({ cssRules }) => cssRules.length === 2_000).length;
  document.title = [window.scripts.length, images, styles].join(' ');">
<script>window.scripts = [];</script>
${many(IMAGES, (index) => `<img src="/${index}.svg">`)}
${many(SCRIPTS, (index) => `<script src="/${index}.js"></script>`)}`;
}

const FILLER = randomBytes(100_000).toString('hex');

function serve({ url = '/' }: IncomingMessage, response: ServerResponse): void {
  const [, index, kind] = /^\/(\d+)\.(\w+)$/.exec(url) ?? [];
  const size = (Number(index) * 37_813) % FILLER.length;
  const filler = FILLER.slice(0, size);
  const answers: Record<string, [string, string]> = {
    js: [
      'text/javascript',
      `/* ${filler} */ if ("${filler}".length === ${size}) window.scripts.push(${index})`,
    ],
    css: ['text/css', '.a { color: red }\n'.repeat(2_000)],
    svg: [
      'image/svg+xml',
      `<svg xmlns="http://www.w3.org/2000/svg" width="3" height="3"><!--${filler}--></svg>`,
    ],
  };
  const [type, body] = answers[kind ?? ''] ?? ['text/html; charset=utf-8', url === '/' ? page() : ''];
  response.setHeader('content-type', type).end(body);
}

describe.runIf(installed('chromium-headless-shell'))('a browser', () => {
  it('loads a page with many resources, over -L and over -D', async () => {
    const port = await stage.portOf(createServer(serve));
    const { ports } = await stage.forwarded(
      ['--expose', `localhost:${port}`],
      ['-L', `0:localhost:${port}`, '-D', '0'],
    );
    const load = async (url: string, ...more: string[]) => {
      const profile = `--user-data-dir=${join(stage.folder, 'chromium')}`;
      const args = ['--no-sandbox', '--disable-gpu', profile, '--timeout=60000', '--dump-dom', ...more, url];
      const { stdout } = await runProgram('chromium-headless-shell', args);
      return /<title>(.*)<\/title>/.exec(stdout)?.[1];
    };
    const all = [SCRIPTS, IMAGES, STYLES].join(' ');
    expect(await load(`http://127.0.0.1:${ports[0]}/`)).toBe(all);
    const proxy = [`--proxy-server=socks5://127.0.0.1:${ports[1]}`, '--proxy-bypass-list=<-loopback>'];
    expect(await load(`http://localhost:${port}/`, ...proxy)).toBe(all);
  });
});

describe.runIf(installed('psql', 'initdb', 'postgres'))('psql', () => {
  it('queries a server over there, by a port and by its Unix socket, and loads a table', async () => {
    const { port, folder } = await postgres();
    const socket = join(folder, `.s.PGSQL.${port}`);
    const here = join(stage.folder, 'here');
    mkdirSync(here);
    const { ports } = await stage.forwarded(
      ['--expose', `db=127.0.0.1:${port}`, '--expose', socket],
      ['-L', '0:db', '-L', `${join(here, '.s.PGSQL.1')}:${socket}`],
    );
    const ask = (host: string, at: number | string, ...sql: string[]) => {
      const where = ['-h', host, '-p', String(at), '-U', 'alice', 'postgres'];
      return runProgram('psql', ['-X', '-q', '-A', '-t', ...where, ...sql.flatMap((each) => ['-c', each])]);
    };
    const made = await ask(
      '127.0.0.1',
      ports[0]!,
      'create table notes (id int, words text)',
      "insert into notes select n, repeat('x', 1000) from generate_series(1, 5000) n",
      'select count(*), sum(length(words)) from notes',
    );
    expect(made).toMatchObject({ status: 0, stdout: '5000|5000000\n' });
    const rows = await ask(here, 1, 'select words from notes order by id');
    expect(rows).toMatchObject({ status: 0, stdout: `${'x'.repeat(1_000)}\n`.repeat(5_000) });
  });
});

/** A server that trusts everybody. It won't run as root, who has nobody run it, in a folder that nobody can enter. */
async function postgres(): Promise<{ port: number; folder: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-pg-'));
  stage.onClose(() => rmSync(folder, { recursive: true, force: true }));
  const isRoot = userInfo().uid === 0;
  const nobody = ['--reuid=65534', '--regid=65534', '--clear-groups'];
  if (isRoot) chownSync(folder, 65_534, 65_534);
  const command = (name: string, ...args: string[]): [string, string[]] =>
    isRoot ? ['setpriv', [...nobody, pathOf(name)!, ...args]] : [name, args];
  const data = join(folder, 'data');
  const init = ['--auth=trust', '--username=alice', '--no-sync', '--no-instructions', '-D', data];
  expect(await runProgram(...command('initdb', ...init))).toMatchObject({ status: 0 });
  const port = await freePort();
  const where = ['-D', data, '-k', folder, '-c', 'listen_addresses=127.0.0.1', '-p', String(port)];
  stage.ended(startProgram(...command('postgres', ...where), { stdio: 'ignore' }));
  await expect.poll(() => answers(port), HANG).toBe(true);
  return { port, folder };
}
