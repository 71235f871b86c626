import { createSocket } from 'node:dgram';
import { Resolver } from 'node:dns/promises';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { connect } from 'node:net';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { concat, utf8 } from '../../src/core/bytes.ts';
import { readDatagram, writeDatagram } from '../../src/core/socks.ts';
import { answers, ClientStage, freePort, HANG } from './client-stage.ts';
import { scriptOf } from './commands.ts';
import { installed, runProgram, startProgram } from './programs.ts';

// Programs that people use, through the commands that they use: each has to work as if the target were here.

vi.setConfig({ testTimeout: 120_000 });

let stage: ClientStage;
beforeEach(() => {
  stage = new ClientStage();
});
afterEach(() => stage.close());

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
  stage.ended(startProgram('sshd', ['-D', '-e', '-f', file('config')], { stdio: 'ignore' }));
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
  it('goes through ProxyCommand, a megabyte each way, and has its exit status', async () => {
    const { port, options } = await sshServer();
    const { url, id } = await stage.bobUp('--expose', `127.0.0.1:${port}`);
    const proxy = `${process.execPath} ${scriptOf('peer')} connect %h -W 127.0.0.1:${port} --rendezvous ${url} --home ${stage.home('alice')} --quiet`;
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
    const { ports } = await stage.forwarded(
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
    const port = await stage.portOf(
      createHttpServer((request, response) => response.end(`${request.url} `.repeat(20_000))),
    );
    const { ports, alice } = await stage.forwarded(['--expose', `localhost:${port}`], ['-D', '0']);
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
    stage.ended(startProgram('iperf3', ['-s', '-B', '127.0.0.1', '-p', String(port)], { stdio: 'ignore' }));
    await expect.poll(() => answers(port), HANG).toBe(true);
    // The client uses one port for both: TCP to control, UDP to measure.
    const here = await freePort();
    const expose = ['--expose', `iperf=127.0.0.1:${port}`, '--expose', `iperf=127.0.0.1:${port}/udp`];
    await stage.forwarded(expose, ['-L', `${here}:iperf`, '-L', `${here}:iperf/udp`]);
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
    const server = stage.ended(startProgram('redis-server', args));
    server.stdout!.resume();
    await expect
      .poll(async () => (await runProgram('redis-cli', ['-s', there, 'ping'])).stdout, HANG)
      .toBe('PONG\n');
    const here = join(stage.folder, 'here.sock');
    const { ports } = await stage.forwarded(
      ['--expose', there],
      ['-L', `0:${there}`, '-L', `${here}:${there}`],
    );
    const set = await runProgram('redis-cli', ['-p', String(ports[0]), 'set', 'key', 'value']);
    expect(set.stdout).toBe('OK\n');
    expect((await runProgram('redis-cli', ['-s', here, 'get', 'key'])).stdout).toBe('value\n');
  });
});

describe.runIf(installed('dnsmasq'))('a resolver', () => {
  const names = ['a.example', 'b.example', 'c.example'];

  /** A name server that knows all of example. */
  async function nameServer(): Promise<number> {
    const port = await freePort();
    const args = [
      '--keep-in-foreground',
      '--no-resolv',
      '--no-hosts',
      '--bind-interfaces',
      '--conf-file=/dev/null',
    ];
    const where = [
      `--port=${port}`,
      '--listen-address=127.0.0.1',
      `--user=${userInfo().username}`,
      '--pid-file',
    ];
    const known = '--address=/example/192.0.2.53';
    stage.ended(startProgram('dnsmasq', [...args, ...where, known], { stdio: 'ignore' }));
    await expect.poll(() => answers(port), HANG).toBe(true);
    return port;
  }

  it('asks a name server over there by UDP, over -L', async () => {
    const port = await nameServer();
    const { ports } = await stage.forwarded(['--expose', `dns=127.0.0.1:${port}/udp`], ['-L', '0:dns/udp']);
    const resolver = new Resolver({ timeout: 5_000 });
    resolver.setServers([`127.0.0.1:${ports[0]}`]);
    const found = await Promise.all(names.map((name) => resolver.resolve4(name)));
    expect(found).toEqual(names.map(() => ['192.0.2.53']));
  });

  it('asks a name server over there by UDP ASSOCIATE, over -D', async () => {
    const port = await nameServer();
    const { ports } = await stage.forwarded(['--expose', `127.0.0.1:${port}/udp`], ['-D', '0']);
    const control = connect(ports[0]!, '127.0.0.1');
    stage.onClose(() => control.destroy());
    control.write(Uint8Array.of(5, 1, 0, 5, 3, 0, 1, 0, 0, 0, 0, 0, 0)); // greeting and request (RFC 1928 §3, §4)
    let replies = Buffer.alloc(0);
    control.on('data', (chunk: Buffer) => (replies = Buffer.concat([replies, chunk])));
    await expect.poll(() => replies.length, HANG).toBe(12);
    expect(replies[3]).toBe(0);
    const client = createSocket('udp4').bind(0, '127.0.0.1');
    stage.onClose(() => client.close());
    for (const name of names) {
      const question = writeDatagram({ host: '127.0.0.1', port }, queryFor(name));
      client.send(question, replies.readUInt16BE(10), '127.0.0.1');
      const [answer] = (await once(client, 'message')) as [Buffer];
      const { address, data } = readDatagram(answer)!;
      expect(address).toEqual({ host: '127.0.0.1', port });
      expect([...data.subarray(-4)]).toEqual([192, 0, 2, 53]);
    }
  });
});

/** Asks for the A records of a name (RFC 1035 §4). */
function queryFor(name: string): Uint8Array {
  const labels = name.split('.').map((label) => concat(Uint8Array.of(label.length), utf8(label)));
  return concat(Uint8Array.of(0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0), ...labels, Uint8Array.of(0, 0, 1, 0, 1));
}
