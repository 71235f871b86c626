import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { connect as connectHttp2 } from 'node:http2';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, vi } from 'vitest';
import { WebSocket } from 'ws';
import { parseEndpoint, type Endpoint } from '../../src/core/endpoint.ts';
import { deferred } from '../../src/net/deferred.ts';
import { Namespaces } from '../netns/namespaces.ts';
import { labSupport } from '../netns/support.ts';
import { Stage, type CommandEvent, type RunningCommand } from './commands.ts';
import { complaintIn, staged, stagedFor, upPeer } from './plain.ts';

const MIB = 1024 * 1024;
const support = await labSupport();

// Many processes at once, on a machine that may have other work.
vi.setConfig({ testTimeout: 120_000 });

async function listening(server: Server): Promise<string> {
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Sends back what it gets; each side ends alone. */
function echoServer(): Server {
  return createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    socket.pipe(socket);
  });
}

/** Sends without end, as fast as it is read. */
function endlessServer(): Server {
  return createServer((socket) => {
    const block = randomBytes(64 * 1024);
    const pour = () => {
      while (socket.writable && socket.write(block));
    };
    socket.on('error', () => {}).on('drain', pour);
    pour();
  });
}

async function forwarded(command: RunningCommand): Promise<Endpoint> {
  return parseEndpoint(String((await command.event('forward'))['listen']));
}

async function echoed(at: Endpoint, bytes: Buffer): Promise<boolean> {
  const socket = connect({ host: at.address, port: at.port, allowHalfOpen: true });
  const hash = createHash('sha256');
  socket.on('data', (chunk: Buffer) => hash.update(chunk));
  socket.end(bytes);
  await once(socket, 'end');
  return hash.digest('hex') === createHash('sha256').update(bytes).digest('hex');
}

/**
 * 32 MiB each way through one connection, in blocks; calls `midway` when a quarter has come back, and resolves with
 * whether every byte came back as it was.
 */
async function transferred(at: Endpoint, midway: () => Promise<void>): Promise<boolean> {
  const total = 32 * MIB;
  const socket = connect({ host: at.address, port: at.port, allowHalfOpen: true });
  const [sent, received] = [createHash('sha256'), createHash('sha256')];
  let count = 0;
  const quarter = deferred<void>();
  socket.on('data', (chunk: Buffer) => {
    received.update(chunk);
    count += chunk.length;
    if (count >= total / 4) quarter.resolve();
  });
  const fault = quarter.promise.then(midway);
  const ended = once(socket, 'end');
  for (let left = total; left > 0; left -= MIB) {
    const block = randomBytes(MIB);
    sent.update(block);
    if (!socket.write(block)) await Promise.race([once(socket, 'drain'), ended]);
    // The second half is sent when the fault is under way, so that it meets a stream in motion.
    if (left <= total / 2) await quarter.promise;
  }
  socket.end();
  await ended;
  await fault;
  return count === total && sent.digest('hex') === received.digest('hex');
}

const active = (direct: boolean) => (event: CommandEvent) =>
  event['state'] === 'active' && event['direct'] === direct;

/** Waits until a direct path is in use at this end. */
const direct = (command: RunningCommand) => command.event('path', active(true));

/** A standalone relay, on the port given or a free one. */
async function relay(stage: Stage, url: string, listen = '127.0.0.1:0') {
  const args = ['--listen', listen, '--stun-port', '0', '--insecure', '--home', stage.home('relay')];
  const command = stage.run('relay', ['start', '--rendezvous', url, ...args, '--json']);
  const { url: relayUrl } = await command.event('listening');
  return { command, url: String(relayUrl) };
}

const again = (command: RunningCommand, name: string, since: CommandEvent) =>
  command.event(name, (event) => event.ms > since.ms);

describe.concurrent('the rendezvous', () => {
  it(
    'may die under a direct session, which loses nothing; both peers are back when it is',
    staged(async (stage) => {
      const echo = echoServer();
      const first = await stage.rendezvous();
      const { id, up } = await upPeer(stage, first.url, '--expose', `echo=${await listening(echo)}`);
      const alice = stage.peer('alice', 'connect', id, '-L', '0:echo', '--rendezvous', first.url);
      const at = await forwarded(alice);
      await Promise.all([direct(alice), direct(up)]);
      const intact = await transferred(at, async () => {
        await first.command.stop('SIGKILL');
        const [lostThere, lostHere] = await Promise.all([
          up.event('unregistered'),
          alice.event('unregistered'),
        ]);
        expect(lostHere).toMatchObject({ code: 'RENDEZVOUS_UNREACHABLE' });
        await stage.rendezvous('--listen', new URL(first.url).host);
        await Promise.all([again(up, 'registered', lostThere), again(alice, 'registered', lostHere)]);
      });
      expect(intact).toBe(true);
      // It is as good as before: another peer gets through, and this session can be relayed again.
      const carol = stage.peer('carol', 'connect', id, '-W', 'echo', '--rendezvous', first.url);
      carol.child.stdin!.end('hello');
      expect((await carol.ended).stdout.toString()).toBe('hello');
      expect(await alice.stop()).toMatchObject({ status: 0 });
      expect(await up.stop()).toMatchObject({ status: 0 });
      echo.close();
    }),
  );

  it(
    'that comes back as another one is not followed: the listener ends, and says so to its sessions',
    staged(async (stage) => {
      const echo = echoServer();
      const first = await stage.rendezvous();
      const { id, up } = await upPeer(stage, first.url, '--expose', `echo=${await listening(echo)}`);
      const alice = stage.peer('alice', 'connect', id, '-L', '0:echo', '--rendezvous', first.url);
      const at = await forwarded(alice);
      await direct(alice);
      await first.command.stop('SIGKILL');
      expect(await echoed(at, randomBytes(MIB))).toBe(true);
      await stage.rendezvous('--listen', new URL(first.url).host, '--home', stage.home('other'));
      expect((await up.ended).status).toBe(3);
      expect(up.events.at(-1)).toMatchObject({ event: 'error', code: 'IDENTITY_CHANGED' });
      expect((await alice.ended).status).toBe(1);
      expect(alice.events.at(-1)).toMatchObject({ event: 'error', code: 'SESSION_CLOSED' });
      echo.close();
    }),
  );
});

describe.concurrent('the relay', () => {
  it.for(['relay-h1', 'relay-h2', 'relay-ws'])(
    'of its own may die under a session that has no other way than %s, and loses nothing when it is back',
    stagedFor(async (stage, kind) => {
      const echo = echoServer();
      const { url } = await stage.rendezvous('--no-relay');
      const first = await relay(stage, url);
      const { id, up } = await upPeer(stage, url, '--expose', `echo=${await listening(echo)}`);
      const paths = ['--paths', kind, '-L', '0:echo', '--rendezvous', url];
      const alice = stage.peer('alice', 'connect', id, ...paths);
      const at = await forwarded(alice);
      const intact = await transferred(at, async () => {
        const killed = first.command.stop('SIGKILL');
        await alice.event('path', ({ state }) => state === 'down');
        await killed;
        await relay(stage, url, new URL(first.url).host);
      });
      expect(intact).toBe(true);
      const kinds = alice.events.filter(({ event }) => event === 'path').map(({ kind }) => kind);
      expect(new Set(kinds)).toEqual(new Set([kind]));
      expect(await alice.stop()).toMatchObject({ status: 0 });
      await up.event('stream', ({ state, reason }) => state === 'closed' && reason === undefined);
      echo.close();
    }),
  );

  it(
    'may die under a direct session, which does not notice',
    staged(async (stage) => {
      const echo = echoServer();
      const { url } = await stage.rendezvous('--no-relay');
      const { command } = await relay(stage, url);
      const { id } = await upPeer(stage, url, '--expose', `echo=${await listening(echo)}`);
      const alice = stage.peer('alice', 'connect', id, '-L', '0:echo', '--rendezvous', url);
      const at = await forwarded(alice);
      await direct(alice);
      await command.stop('SIGKILL');
      expect(await echoed(at, randomBytes(MIB))).toBe(true);
      expect(await alice.stop()).toMatchObject({ status: 0 });
      echo.close();
    }),
  );

  it(
    'that nobody runs leaves --paths relay without a path: status 6',
    staged(async (stage) => {
      const { url } = await stage.rendezvous('--no-relay');
      const { id } = await upPeer(stage, url, '--pipe');
      const args = ['connect', id, '--paths', 'relay', '--rendezvous', url, '--home', stage.home('alice')];
      expect(await complaintIn(stage.run('peer', args))).toMatchObject({ status: 6, code: 'NO_PATH' });
    }),
  );
});

describe.concurrent('the other peer', () => {
  it.for(['udp', 'tcp', 'relay'])(
    'killed in the middle of a stream by %s is a typed error, never success',
    stagedFor(async (stage, paths) => {
      const source = endlessServer();
      const { url } = await stage.rendezvous();
      const { id, up } = await upPeer(stage, url, '--expose', `source=${await listening(source)}`);
      const args = ['connect', id, '-W', 'source', '--paths', paths, '--rendezvous', url];
      const alice = stage.run('peer', [...args, '--home', stage.home('alice')]);
      await once(alice.child.stdout!, 'data');
      await up.stop('SIGKILL');
      const complaint = await complaintIn(alice);
      expect(complaint).toMatchObject({ status: 1, code: 'PEER_LOST' });
      source.close();
    }),
  );

  it(
    'stopped in the middle of a stream, or whose target breaks off, is none either',
    staged(async (stage) => {
      const sockets: Socket[] = [];
      const source = endlessServer().on('connection', (socket) => sockets.push(socket));
      const { url } = await stage.rendezvous();
      const { id, up } = await upPeer(stage, url, '--expose', `source=${await listening(source)}`);
      const start = async (name: string) => {
        const args = ['connect', id, '-W', 'source', '--rendezvous', url, '--home', stage.home(name)];
        const command = stage.run('peer', args);
        await once(command.child.stdout!, 'data');
        return command;
      };
      const alice = await start('alice');
      sockets[0]!.resetAndDestroy();
      expect(await complaintIn(alice)).toMatchObject({ status: 1, code: 'STREAM_RESET' });
      const carol = await start('carol');
      const [stopped, complaint] = await Promise.all([up.stop(), complaintIn(carol)]);
      expect(stopped.status).toBe(0);
      expect(complaint).toMatchObject({ status: 1, code: 'SESSION_CLOSED' });
      source.close();
    }),
  );

  it(
    'that cuts the pipe fails `peer up --pipe` too',
    staged(async (stage) => {
      const { url } = await stage.rendezvous();
      const { id, up } = await upPeer(stage, url, '--pipe');
      const alice = stage.peer('alice', 'connect', id, '--paths', 'tcp', '--rendezvous', url);
      alice.child.stdin!.write(randomBytes(MIB));
      await once(up.child.stdout!, 'data');
      await alice.stop('SIGKILL');
      expect((await up.ended).status).toBe(1);
      expect(up.events.at(-1)).toMatchObject({ event: 'error', code: 'PEER_LOST' });
    }),
  );

  it.for(['udp', 'tcp', 'relay'])(
    'killed while it listened by %s has its port again when it comes back, and no second one of it while it lives',
    stagedFor(async (stage, paths) => {
      const { url } = await stage.rendezvous();
      const { id, up } = await upPeer(stage, url, '--permit-listen', 'any');
      const connect = (port: number) =>
        stage.peer(
          'alice',
          'connect',
          id,
          '-R',
          `${port}:127.0.0.1:1`,
          '--paths',
          paths,
          '--rendezvous',
          url,
        );
      const first = connect(0);
      const { port } = await forwarded(first);
      const { status, events } = await connect(port).ended;
      expect(status).toBe(2);
      const message = expect.stringContaining('the other side can') as string;
      expect(events.at(-1)).toMatchObject({ event: 'error', code: 'PORT_IN_USE', message });
      await first.stop('SIGKILL');
      expect(await forwarded(connect(port))).toMatchObject({ port });
      expect(up.events.filter(({ event }) => event === 'error')).toEqual([]);
    }),
  );

  it(
    'that is denied loses its live sessions within a second or so, whatever flows',
    staged(async (stage) => {
      const source = endlessServer();
      const { url } = await stage.rendezvous();
      const [id, alice] = await Promise.all([stage.id('bob'), stage.id('alice')]);
      await stage.peer('bob', 'allow', alice).ended;
      const exposed = ['--expose', `source=${await listening(source)}`];
      const up = stage.peer('bob', 'up', '--rendezvous', url, ...exposed);
      await up.event('registered');
      const connected = stage.peer('alice', 'connect', id, '-W', 'source', '--rendezvous', url);
      await once(connected.child.stdout!, 'data');
      const denied = stage.peer('bob', 'deny', alice).ended.then(() => performance.now());
      const { status, events } = await connected.ended;
      const seconds = (performance.now() - (await denied)) / 1_000;
      expect(status).toBe(3);
      expect(events.at(-1)).toMatchObject({ event: 'error', code: 'NOT_AUTHORIZED' });
      expect(seconds).toBeLessThan(5);
      await up.event('closed', ({ reason }) => reason === 'NOT_AUTHORIZED');
      source.close();
    }),
  );
});

describe.concurrent('a reader that stands still', () => {
  it(
    'holds back its own stream and nobody else’s, and gets every byte when it goes on',
    staged(async (stage) => {
      const bytes = randomBytes(40 * MIB);
      const source = createServer((socket) => socket.on('error', () => {}).end(bytes));
      const echo = echoServer();
      const { url } = await stage.rendezvous();
      const expose = [`source=${await listening(source)}`, `echo=${await listening(echo)}`];
      const { id } = await upPeer(stage, url, ...expose.flatMap((target) => ['--expose', target]));
      const forwards = ['-L', '0:source', '-L', '0:echo'];
      const alice = stage.peer('alice', 'connect', id, ...forwards, '--rendezvous', url);
      const [slow, fast] = await Promise.all(
        ['source', 'echo'].map(async (service) => {
          const { listen } = await alice.event('forward', ({ target }) => target === service);
          return parseEndpoint(String(listen));
        }),
      );
      const still = connect(slow!.port, slow!.address).pause();
      await once(still, 'connect');
      await sleep(1_500);
      for (let round = 0; round < 3; round++) expect(await echoed(fast!, randomBytes(MIB))).toBe(true);
      const hash = createHash('sha256');
      still.on('data', (chunk: Buffer) => hash.update(chunk)).resume();
      await once(still, 'end');
      expect(hash.digest('hex')).toBe(createHash('sha256').update(bytes).digest('hex'));
      source.close();
      echo.close();
    }),
  );
});

describe.concurrent('SIGINT and SIGTERM', () => {
  it.for(['SIGINT', 'SIGTERM'] as const)(
    'end every command with status 0: %s',
    stagedFor(async (stage, signal) => {
      const source = endlessServer();
      const { command: rendezvous, url } = await stage.rendezvous();
      const { command: standalone } = await relay(stage, url);
      const { id, up } = await upPeer(stage, url, '--expose', `source=${await listening(source)}`);
      const connects = [
        ['-W', 'source'],
        ['-L', '0:source'],
      ].map((how) => stage.peer(`alice${how[0]}`, 'connect', id, ...how, '--rendezvous', url));
      const ping = stage.peer('carol', 'ping', id, '-c', '1000', '--rendezvous', url);
      await Promise.all([...connects, ping].map((command) => command.event('path')));
      for (const command of [...connects, ping, up, standalone, rendezvous]) {
        const { status, stderr } = await command.stop(signal);
        expect([status, stderr.match(/^\s+at /m)]).toEqual([0, null]);
        expect(command.events.some(({ event }) => event === 'error')).toBe(false);
      }
      source.close();
    }),
  );
});

describe.concurrent('rubbish on every port', () => {
  it(
    'ends nothing but the connection that sent it, while a session goes on',
    staged(async (stage) => {
      const echo = echoServer();
      const { url, command: rendezvous } = await stage.rendezvous();
      const { url: relayUrl, command: standalone } = await relay(stage, url);
      const { id, up } = await upPeer(stage, url, '--expose', `echo=${await listening(echo)}`);
      const alice = stage.peer('alice', 'connect', id, '-L', '0:echo', '--rendezvous', url);
      const at = await forwarded(alice);
      await Promise.all([direct(alice), direct(up)]);

      const stun = [rendezvous, standalone].flatMap(({ events }) =>
        (events.find(({ event }) => event === 'listening')!['stun'] as string[]).map(parseEndpoint),
      );
      const peers = [up, alice].map(portsOf);
      const http = [url, relayUrl].map((text) => ({
        address: '127.0.0.1',
        port: Number(new URL(text).port),
      }));
      const ofPeers = peers.flatMap((ports) => ports.tcp).filter(({ port }) => port !== at.port); // a forward carries rubbish too
      const tcp = [...http, ...stun, ...ofPeers];
      const udp = [...stun, ...peers.flatMap((ports) => ports.udp)];
      expect(peers.every((ports) => ports.tcp.length > 0 && ports.udp.length > 0)).toBe(true);
      await Promise.all([
        ...udp.map(floodUdp),
        ...tcp.map(floodTcp),
        ...[url, relayUrl].flatMap((text) => [floodWebSocket(text), floodHttp2(text)]),
        transferred(at, () => Promise.resolve()).then((intact) => expect(intact).toBe(true)),
      ]);

      for (const text of [url, relayUrl]) expect((await fetch(text)).status).toBe(200);
      const carol = stage.peer('carol', 'connect', id, '-W', 'echo', '--rendezvous', url);
      carol.child.stdin!.end('hello');
      expect((await carol.ended).stdout.toString()).toBe('hello');
      const commands = [alice, up, standalone, rendezvous];
      for (const command of commands) {
        expect(command.events.filter(({ event }) => event === 'error' || event === 'unregistered')).toEqual(
          [],
        );
        expect(await command.stop()).toMatchObject({ status: 0 });
      }
      echo.close();
    }),
  );
});

describe.skipIf(!support.ok)('a network that lets no UDP through', () => {
  it(
    'leaves --paths udp without a path within 16 s or so: status 6, and why',
    staged(async () => {
      const host = await Namespaces.open(['host']);
      try {
        await host.run(
          'host',
          `ip link set lo up
           nft add table inet cut
           nft 'add chain inet cut in { type filter hook input priority 0; }'
           nft add rule inet cut in meta l4proto udp drop`,
        );
        const inside = new Stage((file, args, options) => {
          const [enter = '', ...rest] = host.enter('host');
          return spawn(enter, [...rest, file, ...args], options);
        });
        try {
          const { url } = await inside.rendezvous();
          const { id } = await upPeer(inside, url, '--pipe');
          const args = ['connect', id, '--paths', 'udp', '--rendezvous', url, '--home', inside.home('alice')];
          const alice = inside.run('peer', args);
          await alice.line(/registered/);
          const began = performance.now();
          expect(await complaintIn(alice)).toMatchObject({ status: 6, code: 'NO_PATH' });
          expect(performance.now() - began).toBeLessThan(30_000);
        } finally {
          await inside.close();
        }
      } finally {
        await host.close();
      }
    }),
  );
});

/** The UDP and TCP ports on which a process listens, by the kernel's word: `man 5 proc_net`. */
function portsOf({ child }: RunningCommand): { udp: Endpoint[]; tcp: Endpoint[] } {
  const folder = `/proc/${child.pid}/fd`;
  const sockets = new Set(readdirSync(folder).map((name) => /\d+/.exec(linkOf(join(folder, name)))?.[0]));
  const bound = (table: string, state: string): Endpoint[] => {
    const rows = readFileSync(`/proc/net/${table}`, 'utf8').split('\n').slice(1);
    return rows.flatMap((row) => {
      const columns = row.trim().split(/\s+/);
      if (columns[3] !== state || !sockets.has(columns[9])) return [];
      return [{ address: '127.0.0.1', port: Number.parseInt(columns[1]!.split(':')[1]!, 16) }];
    });
  };
  return { udp: bound('udp', '07'), tcp: bound('tcp', '0A') };
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return ''; // closed in between
  }
}

/** What looks like something at first: STUN, its cookie, TLS, HTTP, and noise of many lengths. */
function rubbish(): Buffer[] {
  const stun = Buffer.concat([Buffer.from('000100082112a442', 'hex'), randomBytes(20)]);
  const lying = Buffer.concat([Buffer.from('0001fffc2112a442', 'hex'), randomBytes(40)]);
  const hello = Buffer.from('16030102000100', 'hex');
  const noise = [0, 1, 15, 16, 17, 20, 40, 200, 1_200].map((length) => randomBytes(length));
  return [stun, lying, Buffer.from('0101000c2112a442', 'hex'), hello, ...noise];
}

async function floodUdp({ address, port }: Endpoint): Promise<void> {
  const socket = createSocket('udp4');
  for (let round = 0; round < 20; round++) {
    for (const bytes of rubbish()) socket.send(bytes, port, address);
    await sleep(20);
  }
  await new Promise<void>((resolve) => {
    socket.send(Buffer.alloc(60_000, 1), port, address, () => socket.close(() => resolve()));
  });
}

async function floodTcp({ address, port }: Endpoint): Promise<void> {
  const openings = [
    ...rubbish(),
    randomBytes(MIB),
    Buffer.from('GET / HTTP/1.1\r\nHost: '),
    Buffer.from(`GET /${'x'.repeat(100_000)} HTTP/1.1\r\n\r\n`),
    Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\x04\0\0\0\0\0', 'latin1'),
  ];
  await Promise.all(
    openings.map(async (bytes) => {
      const socket = connect({ host: address, port });
      socket.on('error', () => {});
      socket.write(bytes);
      await Promise.race([once(socket, 'close').catch(() => {}), sleep(500)]);
      socket.destroy();
    }),
  );
}

async function floodWebSocket(url: string): Promise<void> {
  const messages = [
    randomBytes(200),
    'text',
    Buffer.alloc(5_000),
    Buffer.alloc(2 * MIB),
    Buffer.from([0x81]),
  ];
  await Promise.all(
    messages.map(async (message) => {
      const socket = new WebSocket(`${url.replace(/^http/, 'ws')}/v1/signal`);
      socket.on('error', () => {});
      const closed = once(socket, 'close').catch(() => {});
      socket.once('open', () => socket.send(message));
      await Promise.race([closed, sleep(8_000)]);
      socket.terminate();
    }),
  );
}

async function floodHttp2(url: string): Promise<void> {
  const session = connectHttp2(url);
  session.on('error', () => {});
  const headers = [
    {},
    { 'sallyport-ticket': 'x' },
    { 'sallyport-ticket': 'A'.repeat(339) },
    { 'x-filler': 'x'.repeat(60_000) },
  ];
  await once(session, 'remoteSettings').catch(() => {});
  for (const each of headers) {
    const method = {
      ':method': 'CONNECT',
      ':protocol': 'sallyport',
      ':path': '/v1/circuit',
      ':scheme': 'http',
    };
    const stream = session.closed ? undefined : session.request({ ...method, ...each }, { endStream: false });
    stream?.on('error', () => {});
    stream?.write(randomBytes(1_000));
    if (stream) await Promise.race([once(stream, 'close').catch(() => {}), sleep(500)]);
  }
  session.destroy();
}
