import { once } from 'node:events';
import { createSocket } from 'node:dgram';
import { connect, createServer, type AddressInfo, type Server } from 'node:net';
import { createHash, randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseEndpoint } from '../../src/core/endpoint.ts';
import { Stage } from './commands.ts';

let stage: Stage;
let echo: Server;
let echoPort: number;

beforeEach(async () => {
  stage = new Stage();
  echo = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    socket.pipe(socket);
  }).listen(0, '127.0.0.1');
  await once(echo, 'listening');
  echoPort = (echo.address() as AddressInfo).port;
});

afterEach(async () => {
  await stage.close();
  echo.close();
});

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

async function twoPeers(...upArgs: string[]) {
  const { url } = await stage.rendezvous();
  const id = await stage.id('bob');
  const up = stage.peer('bob', 'up', '--rendezvous', url, '--allow', 'any', ...upArgs);
  await up.event('registered');
  return { url, id, up };
}

describe('peer connect -W', () => {
  it('joins stdin and stdout to a target over there, to the last byte, and exits 0', async () => {
    const { url, id } = await twoPeers('--expose', `127.0.0.1:${echoPort}`);
    const command = stage.peer('alice', 'connect', id, '-W', `127.0.0.1:${echoPort}`, '--rendezvous', url);
    const sent = randomBytes(3_000_000);
    command.child.stdin!.end(sent);
    const { status, stdout, events } = await command.ended;
    expect(status).toBe(0);
    expect(sha256(stdout)).toBe(sha256(sent));
    const kinds = events.filter(({ event }) => event === 'path').map(({ kind }) => kind);
    // On loopback a direct path may be found before the relay's circuit is up.
    expect(kinds[0]).toBeOneOf(['relay-h1', 'udp', 'tcp']);
  });

  it('ends quietly when told to, with both ends still open', async () => {
    const { url, id } = await twoPeers('--expose', `echo=127.0.0.1:${echoPort}`);
    const command = stage.peer('alice', 'connect', id, '-W', 'echo', '--rendezvous', url);
    command.child.stdin!.write('hello');
    await once(command.child.stdout!, 'data');
    const { status, events } = await command.stop('SIGTERM');
    expect(status).toBe(0);
    expect(events.filter(({ event }) => event === 'error')).toEqual([]);
  });

  it('becomes direct on both ends, by UDP and TCP', async () => {
    const { url, id, up } = await twoPeers('--expose', `echo=127.0.0.1:${echoPort}`);
    const command = stage.peer('alice', 'connect', id, '-W', 'echo', '--rendezvous', url, '--explain');
    for (const end of [command, up]) {
      for (const kind of ['udp', 'tcp']) {
        const path = await end.event('path', (event) => event['kind'] === kind && event['state'] === 'up');
        expect(path).toMatchObject({ direct: true });
      }
      await end.event('path', (event) => event['direct'] === true && event['state'] === 'active');
    }
    expect(command.events.some(({ event }) => event === 'trace')).toBe(true);
    command.child.stdin!.end();
    expect(await command.ended).toMatchObject({ status: 0 });
  });

  it.each([
    ['udp', 'udp', true],
    ['tcp', 'tcp', true],
    ['relay', 'relay-h1', false],
    ['relay-h1', 'relay-h1', false],
    ['relay-h2', 'relay-h2', false],
    ['relay-ws', 'relay-ws', false],
  ])('keeps to --paths %s', async (paths, kind, direct) => {
    const { url, id } = await twoPeers('--expose', `echo=127.0.0.1:${echoPort}`);
    const command = stage.peer('alice', 'connect', id, '-W', 'echo', '--rendezvous', url, '--paths', paths);
    await command.event('path', (event) => event['state'] === 'active');
    command.child.stdin!.end('hello');
    const { status, stdout, events } = await command.ended;
    expect([status, stdout.toString()]).toEqual([0, 'hello']);
    const told = events.filter(({ event }) => event === 'path');
    expect(told.every((event) => event['kind'] === kind && event['direct'] === direct)).toBe(true);
  });
});

describe('peer connect -L', () => {
  it('carries many connections at once', async () => {
    const { url, id } = await twoPeers('--expose', `echo=127.0.0.1:${echoPort}`);
    const command = stage.peer('alice', 'connect', id, '-L', '0:echo', '--rendezvous', url);
    const { listen, target } = await command.event('forward');
    expect(target).toBe('echo');
    const { address, port } = parseEndpoint(String(listen));
    const talks = Array.from({ length: 20 }, async (_, index) => {
      const socket = connect({ host: address, port, allowHalfOpen: true });
      const sent = randomBytes(50_000 + index);
      const got: Buffer[] = [];
      socket.on('data', (chunk) => got.push(chunk));
      socket.end(sent);
      await once(socket, 'end');
      expect(sha256(Buffer.concat(got))).toBe(sha256(sent));
    });
    await Promise.all(talks);
    expect(await command.stop('SIGINT')).toMatchObject({ status: 0 });
  });
});

describe('peer connect -L, once its session has ended,', () => {
  it('says so once, however many connections that ended', async () => {
    const { url, id } = await twoPeers('--expose', `echo=127.0.0.1:${echoPort}`);
    const command = stage.peer('alice', 'connect', id, '-L', '0:echo', '--rendezvous', url);
    const { listen } = await command.event('forward');
    const { address, port } = parseEndpoint(String(listen));
    const sockets = Array.from({ length: 3 }, () => connect({ host: address, port }).on('error', () => {}));
    for (const socket of sockets) {
      socket.write('x');
      await once(socket, 'data');
    }
    await stage.peer('bob', 'deny', await stage.id('alice')).ended;
    const { status, events } = await command.ended;
    expect(status).toBe(3);
    expect(events.filter(({ event }) => event === 'error')).toMatchObject([{ code: 'NOT_AUTHORIZED' }]);
  });
});

describe('a pipe', () => {
  it('joins both ends’ standard streams and ends with both', async () => {
    const { url, id, up } = await twoPeers('--pipe');
    const command = stage.peer('alice', 'connect', id, '--rendezvous', url);
    command.child.stdin!.end('from alice');
    up.child.stdin!.end('from bob');
    const [alice, bob] = await Promise.all([command.ended, up.ended]);
    expect([alice.status, alice.stdout.toString()]).toEqual([0, 'from bob']);
    expect([bob.status, bob.stdout.toString()]).toEqual([0, 'from alice']);
  });
});

describe('peer ping and status', () => {
  it('reports round trips with the path that they took, and what runs', async () => {
    const { url, id, up } = await twoPeers();
    const ping = await stage.peer('alice', 'ping', id, '-c', '3', '-i', '0.05s', '--rendezvous', url).ended;
    const report = JSON.parse(ping.stdout.toString()) as { received: number; replies: { kind: string }[] };
    expect(ping.status).toBe(0);
    expect(report).toMatchObject({ sent: 3, received: 3 });
    expect(report.replies.every(({ kind }) => ['udp', 'tcp', 'relay-h1'].includes(kind))).toBe(true);

    const cut = stage.peer('alice', 'ping', id, '-c', '1000', '-i', '50', '--rendezvous', url);
    await cut.event('path', ({ state }) => state === 'active');
    const status = await stage.peer('bob', 'status').ended;
    expect(JSON.parse(status.stdout.toString())).toMatchObject({
      id,
      agents: [{ command: 'up', registered: true }],
    });
    await up.stop();
    const summary = await cut.ended;
    expect(summary.status).toBe(1);
    expect(JSON.parse(summary.stdout.toString())).toMatchObject({ received: expect.any(Number) });
    expect(summary.events.at(-1)).toMatchObject({ event: 'error', code: 'SESSION_CLOSED' });
  });
});

describe('peer ping for people', () => {
  it('that is stopped between two pings misses no reply', async () => {
    const { url, id } = await twoPeers();
    const args = ['ping', id, '-i', '1h', '--rendezvous', url];
    const ping = stage.run('peer', [...args, '--home', stage.home('alice')]);
    await once(ping.child.stdout!, 'data');
    const { status, stdout } = await ping.stop('SIGINT');
    expect(status).toBe(0);
    expect(stdout.toString()).toMatch(/^reply from .*\n1 sent, 1 received; .*\n$/);
  });

  it('ends with whoever reads its replies, as in `peer ping … | head -1`', async () => {
    const { url, id } = await twoPeers();
    const args = ['ping', id, '-c', '1000000', '-i', '50', '--rendezvous', url];
    const ping = stage.run('peer', [...args, '--home', stage.home('alice')]);
    await once(ping.child.stdout!, 'data');
    ping.child.stdout!.destroy();
    expect((await ping.ended).status).toBe(0);
  });
});

describe('peer nat', () => {
  it('that is stopped while it measures reports nothing', async () => {
    const silent = createSocket('udp4').bind(0, '127.0.0.1');
    await once(silent, 'listening');
    const asked = once(silent, 'message');
    const nat = stage.peer('alice', 'nat', '--stun', `127.0.0.1:${silent.address().port}`);
    await asked;
    const { status, stdout, events } = await nat.stop('SIGINT');
    silent.close();
    expect({ status, stdout: stdout.toString(), events }).toEqual({ status: 0, stdout: '', events: [] });
  });

  it('finds no NAT on loopback', async () => {
    const { url } = await stage.rendezvous();
    const { status, stdout } = await stage.peer('alice', 'nat', '--rendezvous', url).ended;
    const report = JSON.parse(stdout.toString()) as Record<string, unknown>;
    expect(status).toBe(0);
    expect(report).toMatchObject({
      udp: { reachable: true, mapping: 'none' },
      tcp: { reachable: true, mapping: 'none' },
    });
    for (const field of ['type', 'portMapping', 'ipv6', 'cgnat', 'proxy', 'prognosis'])
      expect(report).toHaveProperty(field);
  });

  it('measures by a STUN server alone, and says what that can not tell', async () => {
    const { command } = await stage.rendezvous();
    const [stun = ''] = (await command.event('listening'))['stun'] as string[];
    const { status, stdout } = await stage.peer('alice', 'nat', '--stun', stun).ended;
    expect(status).toBe(0);
    expect(JSON.parse(stdout.toString())).toMatchObject({
      udp: { reachable: true, mapping: 'none', filtering: 'unknown', servers: [stun] },
      servers: stun,
      notes: [
        expect.stringMatching(/OTHER-ADDRESS/) as string,
        expect.stringMatching(/dials back/) as string,
        expect.stringMatching(/one address/) as string,
      ],
    });
  });
});
