import type { ChildProcess } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { Resolver } from 'node:dns/promises';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { connect, createServer, type AddressInfo, type Server } from 'node:net';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Stage, type RunningCommand } from './commands.ts';
import { installed, runProgram, startProgram } from './programs.ts';

// Programs that people use, through the commands that they use: each has to work as if the target were here.

vi.setConfig({ testTimeout: 120_000 });

let stage: Stage;
let closers: (() => unknown)[];
beforeEach(() => {
  stage = new Stage();
  closers = [];
});
afterEach(async () => {
  for (const close of closers.toReversed()) await close();
  await stage.close();
});

/** bob, who exposes what the arguments say; alice's `peer connect` with hers, and where her forwards listen. */
async function forwarded(
  up: readonly string[],
  connectArgs: readonly string[],
): Promise<{ alice: RunningCommand; ports: number[]; url: string; id: string }> {
  const { url, id } = await bobUp(up);
  const alice = stage.peer('alice', 'connect', id, '--rendezvous', url, ...connectArgs);
  const count = connectArgs.filter((arg) => /^-[LRD]$/.test(arg)).length;
  await expect.poll(() => alice.events.filter(({ event }) => event === 'forward').length, HANG).toBe(count);
  const ports = alice.events
    .filter(({ event }) => event === 'forward')
    .map(({ listen }) => Number(String(listen).split(':').at(-1)));
  return { alice, ports, url, id };
}

async function bobUp(up: readonly string[]): Promise<{ url: string; id: string }> {
  const { url } = await stage.rendezvous();
  const id = await stage.id('bob');
  const command = stage.peer('bob', 'up', '--rendezvous', url, '--allow', 'any', ...up);
  await command.event('registered');
  return { url, id };
}

function ended(child: ChildProcess): ChildProcess {
  closers.push(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const closed = once(child, 'close');
    child.kill('SIGKILL');
    await closed;
  });
  return child;
}

async function portOf(server: Server): Promise<number> {
  await once(server.listen(0, '127.0.0.1'), 'listening');
  closers.push(() => server.close());
  return (server.address() as AddressInfo).port;
}

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer();
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  return once(socket, 'connect')
    .then(
      () => true,
      () => false,
    )
    .finally(() => socket.destroy());
}

const HANG = { timeout: 60_000 };

/** sshd for the current user alone, with keys of its own; the options that ssh needs to trust it. */
async function sshServer(): Promise<{ port: number; options: string[] }> {
  const folder = stage.home('ssh');
  mkdirSync(folder, { mode: 0o700 });
  const file = (name: string) => join(folder, name);
  for (const name of ['host', 'user'])
    await runProgram('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', file(name)]);
  const port = await freePort();
  const config = [
    `Port ${port}`,
    'ListenAddress 127.0.0.1',
    `HostKey ${file('host')}`,
    `AuthorizedKeysFile ${file('user.pub')}`,
    `PidFile ${file('pid')}`,
    'PasswordAuthentication no',
    'UsePAM no',
    'StrictModes no',
    'PermitRootLogin yes',
  ];
  writeFileSync(file('config'), `${config.join('\n')}\n`);
  if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true });
  ended(startProgram('sshd', ['-D', '-e', '-f', file('config')], { stdio: 'ignore' }));
  await expect.poll(() => answers(port), HANG).toBe(true);
  const trust = [
    'StrictHostKeyChecking=no',
    `UserKnownHostsFile=${file('known')}`,
    'BatchMode=yes',
    'LogLevel=ERROR',
  ];
  return {
    port,
    options: [
      '-F',
      '/dev/null',
      '-i',
      file('user'),
      '-l',
      userInfo().username,
      ...trust.flatMap((each) => ['-o', each]),
    ],
  };
}

describe.runIf(installed('ssh', 'sshd'))('openssh', () => {
  const peer = fileURLToPath(new URL('../../dist/src/bin/peer.js', import.meta.url));

  it('goes through ProxyCommand, a megabyte each way, and has its exit status', async () => {
    const { port, options } = await sshServer();
    const { url, id } = await bobUp(['--expose', `127.0.0.1:${port}`]);
    const proxy = `${process.execPath} ${peer} connect %h -W 127.0.0.1:${port} --rendezvous ${url} --home ${stage.home('alice')} --quiet`;
    const through = ['-o', `ProxyCommand=${proxy}`, ...options, id];
    const words = await runProgram('ssh', [
      ...through,
      'head -c 1000000 /dev/zero | wc -c; head -c 1000000 /dev/zero | tr "\\0" a; exit 7',
    ]);
    expect(words).toMatchObject({ status: 7, stderr: '' });
    expect(words.stdout).toBe(`1000000\n${'a'.repeat(1_000_000)}`);
  });

  it('goes through -L, and with -R the other way round', async () => {
    const { port, options } = await sshServer();
    const { ports } = await forwarded(
      ['--expose', `ssh=127.0.0.1:${port}`, '--permit-listen', 'any'],
      ['-L', '0:ssh', '-R', `0:127.0.0.1:${port}`],
    );
    for (const at of ports) {
      const words = await runProgram('ssh', ['-p', String(at), ...options, '127.0.0.1', 'echo there']);
      expect(words).toMatchObject({ status: 0, stdout: 'there\n' });
    }
  });
});

describe.runIf(installed('curl'))('curl', () => {
  it('loads pages over -D, names resolved over there, and names what it is refused', async () => {
    const port = await portOf(
      createHttpServer((request, response) => response.end(`${request.url} `.repeat(20_000))),
    );
    const { ports, alice } = await forwarded(['--expose', `localhost:${port}`], ['-D', '0']);
    const proxy = ['-sS', '-m', '60', '-x', `socks5h://127.0.0.1:${ports[0]}`];
    const pages = Array.from({ length: 20 }, (_, index) => `http://localhost:${port}/page-${index}`);
    const { status, stdout } = await runProgram('curl', [...proxy, '-Z', ...pages]);
    expect(status).toBe(0);
    expect(stdout.length).toBe(pages.reduce((sum, _, index) => sum + `/page-${index} `.length * 20_000, 0));
    const refused = await runProgram('curl', [...proxy, 'http://localhost:1/']);
    expect(refused.status).toBe(97); // CURLE_PROXY
    expect(await alice.event('error')).toMatchObject({ code: 'NOT_AUTHORIZED' });
  });
});

describe.runIf(installed('iperf3'))('iperf3', () => {
  it('measures over -L, by TCP and by UDP', async () => {
    const port = await freePort();
    ended(startProgram('iperf3', ['-s', '-B', '127.0.0.1', '-p', String(port)], { stdio: 'ignore' }));
    await expect.poll(() => answers(port), HANG).toBe(true);
    // The client uses one port for both: TCP to control, UDP to measure.
    const here = await freePort();
    const expose = ['--expose', `iperf=127.0.0.1:${port}`, '--expose', `iperf=127.0.0.1:${port}/udp`];
    await forwarded(expose, ['-L', `${here}:iperf`, '-L', `${here}:iperf/udp`]);
    const measure = async (...args: string[]) => {
      const { stdout } = await runProgram('iperf3', ['-c', '127.0.0.1', '-p', String(here), '-J', ...args]);
      return JSON.parse(stdout) as {
        error?: string;
        end: { sum: { lost_percent: number; packets: number }; sum_received: { bytes: number } };
      };
    };
    const tcp = await measure('-n', '20M');
    expect(tcp.error).toBeUndefined();
    expect(tcp.end.sum_received.bytes).toBeGreaterThan(2 ** 20); // of those that arrived before the end was told
    for (const way of [[], ['-R']]) {
      const udp = await measure('-u', '-b', '5M', '-l', '1000', '-t', '2', ...way);
      expect(udp.error).toBeUndefined();
      expect(udp.end.sum.packets).toBeGreaterThan(500);
      expect(udp.end.sum.lost_percent).toBeLessThan(20);
    }
  });
});

describe.runIf(installed('redis-server', 'redis-cli'))('redis', () => {
  it('answers from a Unix socket over there, by a port and by a socket here', async () => {
    const there = join(stage.folder, 'redis.sock');
    const args = ['--port', '0', '--unixsocket', there, '--save', '', '--dir', stage.folder];
    const server = ended(startProgram('redis-server', args));
    server.stdout!.resume();
    await expect
      .poll(async () => (await runProgram('redis-cli', ['-s', there, 'ping'])).stdout, HANG)
      .toBe('PONG\n');
    const here = join(stage.folder, 'here.sock');
    const { ports } = await forwarded(['--expose', there], ['-L', `0:${there}`, '-L', `${here}:${there}`]);
    const set = await runProgram('redis-cli', ['-p', String(ports[0]), 'set', 'key', 'value']);
    expect(set.stdout).toBe('OK\n');
    expect((await runProgram('redis-cli', ['-s', here, 'get', 'key'])).stdout).toBe('value\n');
  });
});

describe('a resolver', () => {
  it('asks a name server over there by UDP', async () => {
    const server = createSocket('udp4', (query, from) =>
      server.send(answerTo(query), from.port, from.address),
    );
    await once(server.bind(0, '127.0.0.1'), 'listening');
    closers.push(() => server.close());
    const { ports } = await forwarded(
      ['--expose', `dns=127.0.0.1:${server.address().port}/udp`],
      ['-L', '0:dns/udp'],
    );
    const resolver = new Resolver({ timeout: 5_000 });
    resolver.setServers([`127.0.0.1:${ports[0]}`]);
    const names = ['a.example', 'b.example', 'c.example'];
    const found = await Promise.all(names.map((name) => resolver.resolve4(name)));
    expect(found).toEqual(names.map(() => ['192.0.2.53']));
  });
});

/** One A record for whatever is asked (RFC 1035 §4). */
function answerTo(query: Buffer): Buffer {
  const end = query.indexOf(0, 12) + 5;
  const head = Buffer.concat([query.subarray(0, 2), Buffer.from([0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0])]);
  const record = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 53]);
  return Buffer.concat([head, query.subarray(12, end), record]);
}
