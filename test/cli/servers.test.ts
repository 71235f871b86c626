import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

interface Line {
  readonly event: string;
  readonly [field: string]: unknown;
}

let home: string;
const running: ChildProcess[] = [];
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'sallyport-cli-'));
});
afterEach(() => {
  for (const child of running.splice(0)) child.kill('SIGKILL');
  rmSync(home, { recursive: true });
});

/** A server command from its source, with its own home and `--json`. */
class Command {
  readonly child: ChildProcess;
  readonly lines: Line[] = [];
  readonly exit: Promise<number | null>;
  #arrived = () => undefined as void;

  constructor(name: 'rendezvous' | 'relay', args: string[], environment: Record<string, string> = {}) {
    const script = ['--import', './scripts/ts.mjs', `src/bin/${name}.ts`, 'start', '--json'];
    const env = { ...process.env, SALLYPORT_HOME: join(home, name), ...environment };
    this.child = spawn(process.execPath, [...script, ...args], { env });
    running.push(this.child);
    this.exit = once(this.child, 'close').then(([code]) => code as number | null);
    createInterface({ input: this.child.stderr! }).on('line', (line) => {
      this.lines.push(JSON.parse(line) as Line);
      this.#arrived();
    });
  }

  async event(name: string): Promise<Line> {
    for (;;) {
      const line = this.lines.find(({ event }) => event === name);
      if (line) return line;
      await new Promise<void>((resolve) => (this.#arrived = resolve));
    }
  }
}

const CANT_LISTEN = /^can't listen on 192\.0\.2\.9\b.*: EADDRNOTAVAIL$/;
const LOOPBACK = ['--listen', '127.0.0.1:0', '--stun-port', '0', '--insecure'];

describe('rendezvous start', () => {
  it.each(['SIGTERM', 'SIGHUP'] as const)('says where it listens, and ends cleanly on %s', async (signal) => {
    const rendezvous = new Command('rendezvous', LOOPBACK);
    const { url, join: joinUrl, stun, id } = await rendezvous.event('listening');
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    expect(joinUrl).toMatch(new RegExp(`^${String(url)}#id=${String(id)}&token=.{20,}$`));
    expect(stun).toHaveLength(2);
    const page = await fetch(String(url));
    expect(await page.text()).toBe(`Sallyport rendezvous ${String(id)}\n`);
    rendezvous.child.kill(signal);
    expect(await rendezvous.exit).toBe(0);
    expect(rendezvous.lines.at(-1)).toMatchObject({ event: 'closed', reason: 'stopped' });
  });

  it('shows the public URL that it was given, and takes no name for an address', async () => {
    const named = new Command('rendezvous', [...LOOPBACK, '--public-url', 'http://rendezvous.example.org']);
    expect(String((await named.event('listening'))['join'])).toMatch(
      /^http:\/\/rendezvous\.example\.org#id=/,
    );
    named.child.kill('SIGTERM');
    const refused = new Command('rendezvous', [...LOOPBACK, '--public-address', 'rendezvous.example.org']);
    expect(await refused.event('error')).toMatchObject({
      code: 'USAGE',
      hint: expect.stringContaining('--public-url'),
    });
    expect(await refused.exit).toBe(2);
    await named.exit;
  });

  it('takes every option from the environment too', async () => {
    const rendezvous = new Command('rendezvous', [], {
      SALLYPORT_LISTEN: '127.0.0.1:0',
      SALLYPORT_STUN_PORT: '0',
      SALLYPORT_INSECURE: '1',
      SALLYPORT_OPEN: '1',
      SALLYPORT_PUBLIC_ADDRESS: '192.0.2.1',
    });
    const { join: joinUrl, stun } = await rendezvous.event('listening');
    expect(joinUrl).toMatch(/^http:\/\/192\.0\.2\.1:\d+#id=[a-z2-7]{52}$/);
    expect((stun as string[])[0]).toMatch(/^192\.0\.2\.1:\d+$/);
  });

  it('takes a switch in the environment for what it says', async () => {
    const switches = { SALLYPORT_INSECURE: 'no', SALLYPORT_OPEN: '' };
    const refused = new Command('rendezvous', ['--listen', '127.0.0.1:0', '--stun-port', '0'], switches);
    expect(await refused.exit).toBe(2);
    expect(refused.lines).toMatchObject([{ event: 'error', message: 'no TLS certificate was given' }]);
  });

  it.runIf(existsSync('/dev/full'))('goes on where its log is on a full disk', async () => {
    const script = ['--import', './scripts/ts.mjs', 'src/bin/rendezvous.ts', 'start', ...LOOPBACK];
    const stdio = ['ignore', 'ignore', openSync('/dev/full', 'w')] as const;
    const port = String(await freePort());
    const args = [...script, '--listen', `127.0.0.1:${port}`, '--home', home];
    const child = spawn(process.execPath, args, { stdio: [...stdio] });
    running.push(child);
    const answer = async (): Promise<number> =>
      (await fetch(`http://127.0.0.1:${port}/healthz`).catch(() => undefined))?.status ?? 0;
    await expect.poll(answer, { timeout: 60_000, interval: 200 }).toBe(200);
    child.kill('SIGTERM');
    expect((await once(child, 'exit'))[0]).toBe(0);
  });

  it.each([
    ['without TLS', ['--listen', '127.0.0.1:0']],
    ['with an unknown option', ['--nonsense']],
    ['with a port that is none', [...LOOPBACK, '--stun-port', '70000']],
    ['with --open and a token file', [...LOOPBACK, '--open', '--token-file', 'x']],
    ['with TLS that --public-url doesn’t have', [...LOOPBACK, '--public-url', 'https://rendezvous.example']],
    ['with the first address for a second', [...LOOPBACK, '--alt-address', '127.0.0.1']],
    ['with a second address alone', ['--listen', '0.0.0.0:0', '--insecure', '--alt-address', '127.0.0.2']],
  ])('refuses to start %s', async (_how, args) => {
    const rendezvous = new Command('rendezvous', args);
    expect(await rendezvous.exit).toBe(2);
    expect(rendezvous.lines).toMatchObject([{ event: 'error', code: 'USAGE' }]);
  });

  it.each([
    [['--listen', '127.0.0.1:0', '--tls-cert', 'x'], 'no --tls-key was given', /--tls-key/],
    [[...LOOPBACK, '--alt-address', '192.0.2.9'], CANT_LISTEN, /an address of this host/],
    [['--insecure', '--listen', '192.0.2.9:80'], CANT_LISTEN, /an address of this host/],
  ])('says of %j what is wrong and what to do', async (args, message, hint) => {
    const rendezvous = new Command('rendezvous', args);
    expect(await rendezvous.exit).toBe(2);
    expect(rendezvous.lines).toMatchObject([
      { code: 'USAGE', message: expect.stringMatching(message), hint: expect.stringMatching(hint) },
    ]);
  });
});

describe('relay start', () => {
  it('registers with the token of the join URL and ends cleanly', async () => {
    const rendezvous = new Command('rendezvous', LOOPBACK);
    const { join: joinUrl, url } = await rendezvous.event('listening');
    const relay = new Command('relay', [...LOOPBACK, '--rendezvous', String(joinUrl)]);
    const { id } = await relay.event('listening');
    expect(await relay.event('registered')).toMatchObject({ id, rendezvous: url });
    expect(await rendezvous.event('joined')).toMatchObject({ role: 'relay' });
    relay.child.kill('SIGINT');
    expect(await relay.exit).toBe(0);
    expect(JSON.stringify(rendezvous.lines.slice(1))).not.toContain('127.0.0.1');
  });

  it('ends cleanly, too, where the rendezvous has not answered yet', async () => {
    const silent = createServer().listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as AddressInfo;
    const relay = new Command('relay', [...LOOPBACK, '--rendezvous', `http://127.0.0.1:${port}`]);
    const [asking] = (await once(silent, 'connection')) as [Socket];
    asking.on('error', () => undefined);
    relay.child.kill('SIGTERM');
    expect(await relay.exit).toBe(0);
    expect(relay.lines).toEqual([]);
    silent.close();
  });

  it('says why it can’t', async () => {
    const rendezvous = new Command('rendezvous', LOOPBACK);
    const { url } = await rendezvous.event('listening');
    const stranger = new Command('relay', [...LOOPBACK, '--rendezvous', String(url)]);
    const lost = new Command('relay', [...LOOPBACK, '--rendezvous', 'http://127.0.0.1:9']);
    const confused = new Command('relay', [...LOOPBACK, '--rendezvous', 'ftp://x']);
    expect(await Promise.all([stranger.exit, lost.exit, confused.exit])).toEqual([3, 5, 2]);
    expect(stranger.lines).toMatchObject([
      { code: 'TOKEN_INVALID', hint: expect.stringContaining('relay start --rendezvous') },
    ]);
    expect(lost.lines).toMatchObject([{ code: 'RENDEZVOUS_UNREACHABLE' }]);
    expect(confused.lines).toMatchObject([{ code: 'URL_INVALID' }]);
  }, 120_000);

  it('tells people once that the rendezvous is away, however often it tries', async () => {
    const rendezvous = new Command('rendezvous', LOOPBACK);
    const { join: joinUrl } = await rendezvous.event('listening');
    const script = ['--import', './scripts/ts.mjs', 'src/bin/relay.ts', 'start', ...LOOPBACK];
    const args = [...script, '--home', home, '--rendezvous', String(joinUrl)];
    const relay = spawn(process.execPath, args);
    running.push(relay);
    let said = '';
    relay.stderr.on('data', (text: Buffer) => (said += text.toString()));
    await expect.poll(() => said, { timeout: 60_000 }).toMatch(/registered/);
    rendezvous.child.kill('SIGKILL');
    await expect.poll(() => said, { timeout: 60_000 }).toMatch(/ECONNREFUSED/);
    await new Promise((resolve) => setTimeout(resolve, 3_000)); // three more attempts
    expect(said.match(/ECONNREFUSED/g)).toHaveLength(1);
  });
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
