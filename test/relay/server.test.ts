import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { connect as connectHttp2, constants, type OutgoingHttpHeaders } from 'node:http2';
import { connect as connectTcp, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { SallyportError } from '../../src/core/errors.ts';
import type { Identity } from '../../src/core/identity.ts';
import { LIMITS } from '../../src/core/limits.ts';
import { issueTicket, signOpening, type Ticket } from '../../src/core/protocol/ticket.ts';
import type { CircuitKind } from '../../src/core/session/events.ts';
import type { Leg } from '../../src/net/circuit.ts';
import { loadIdentity } from '../../src/net/identity-file.ts';
import type { RelayLink } from '../../src/net/relay-link.ts';
import { serverTime } from '../../src/net/server-clock.ts';
import { RelayServer } from '../../relay/server.ts';
import { freshIdentity, next, selfSignedTls, TestDeployment } from '../rendezvous/deployment.ts';
import { TinyProxy } from '../net/tiny-proxy.ts';
import { Middlebox, type MiddleboxOptions } from './middlebox.ts';

let deployment: TestDeployment;
let key: Identity;
afterEach(async () => {
  vi.unstubAllEnvs();
  await deployment.close();
});

async function start(options: Parameters<typeof TestDeployment.start>[0] = {}): Promise<void> {
  deployment = await TestDeployment.start(options);
  key = loadIdentity(join(deployment.home, 'rendezvous.key'));
}

const [alice, bob] = [freshIdentity(), freshIdentity()];

function ticket(leg: 0 | 1, circuit: Uint8Array, fields: Partial<Ticket> = {}): Uint8Array {
  return issueTicket(key, {
    circuit,
    leg,
    peer: leg === 0 ? alice.id : bob.id,
    relay: key.id,
    expires: serverTime() + 60_000,
    bytesPerSecond: 0,
    ...fields,
  });
}

const circuitId = () => new Uint8Array(randomBytes(16));

const H1: readonly [CircuitKind, CircuitKind] = ['relay-h1', 'relay-h1'];

interface Opened {
  readonly kinds?: readonly [CircuitKind, CircuitKind];
  readonly links?: readonly [RelayLink, RelayLink];
  readonly circuit?: Uint8Array;
}

/** Both legs of one circuit, leg 0 by the first link. */
async function openBoth({
  kinds = H1,
  links = [deployment.link(), deployment.link()],
  circuit = circuitId(),
}: Opened = {}): Promise<[Duplex, Duplex]> {
  const [a, b] = await Promise.all([
    links[0].open(ticket(0, circuit), alice, { kinds: [kinds[0]] }),
    links[1].open(ticket(1, circuit), bob, { kinds: [kinds[1]] }),
  ]);
  expect([a.kind, b.kind]).toEqual(kinds);
  return [a.pipe, b.pipe];
}

async function openOne(kind: CircuitKind, bytes: Uint8Array, link = deployment.link()): Promise<Duplex> {
  return (await link.open(bytes, alice, { kinds: [kind] })).pipe;
}

/** Connections from here that say nothing, for five seconds; a few at a time, or the kernel would have some wait. */
async function fillAddress(count: number): Promise<Socket[]> {
  const { hostname, port } = new URL(deployment.server.url);
  const sockets: Socket[] = [];
  deployment.onClose(() => sockets.forEach((socket) => socket.destroy()));
  while (sockets.length < count) {
    const more = Array.from({ length: Math.min(128, count - sockets.length) }, () =>
      connectTcp(Number(port), hostname)
        .on('error', () => undefined)
        .resume(),
    );
    sockets.push(...more);
    await Promise.all(more.map((socket) => once(socket, 'connect')));
  }
  return sockets;
}

async function readAll(pipe: Duplex): Promise<Buffer> {
  const chunks: Buffer[] = [];
  pipe.on('data', (chunk: Buffer) => chunks.push(chunk));
  await once(pipe, 'end');
  return Buffer.concat(chunks);
}

/** Reads until so many bytes have come. */
async function readBytes(pipe: Duplex, count: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  await new Promise<void>((resolve, reject) => {
    pipe.on('error', reject);
    pipe.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      length += chunk.length;
      if (length >= count) resolve();
    });
    pipe.resume();
  });
  return Buffer.concat(chunks);
}

/** Why a leg was refused: at once, or later by its own error. */
async function refusalOf(leg: Promise<Leg>): Promise<string> {
  try {
    const [error] = (await once((await leg).pipe, 'error')) as [SallyportError];
    return error.code;
  } catch (thrown) {
    return (thrown as SallyportError).code;
  }
}

async function pour(pipe: Duplex, blocks: number, block: Buffer): Promise<string> {
  const hash = createHash('sha256');
  for (let i = 0; i < blocks; i++) {
    block.writeUInt32BE(i);
    hash.update(block);
    if (!pipe.write(Buffer.from(block))) await once(pipe, 'drain');
  }
  return hash.digest('hex');
}

async function hashOf(pipe: Duplex, bytes: number): Promise<string> {
  const hash = createHash('sha256');
  let left = bytes;
  await new Promise<void>((resolve, reject) => {
    pipe.on('error', reject);
    pipe.on('data', (chunk: Buffer) => {
      hash.update(chunk);
      left -= chunk.length;
      if (left <= 0) resolve();
    });
  });
  return hash.digest('hex');
}

const EACH_KIND = ['relay-h1', 'relay-h2', 'relay-ws'] as const;
/** Each with itself and with each other. */
const KINDS = EACH_KIND.flatMap((one) =>
  EACH_KIND.map((other): [CircuitKind, CircuitKind] => [one, other]).filter(
    ([, other]) => EACH_KIND.indexOf(one) <= EACH_KIND.indexOf(other),
  ),
);

describe('a circuit', () => {
  it.each(KINDS)('carries bytes both ways between %s and %s, the first ones at once', async (...kinds) => {
    await start();
    const [a, b] = await openBoth({ kinds });
    a.write('hello bob');
    b.write('hello alice');
    const [forBob, forAlice] = await Promise.all([readBytes(b, 9), readBytes(a, 11)]);
    expect([forBob.toString(), forAlice.toString()]).toEqual(['hello bob', 'hello alice']);
  });

  it.each(EACH_KIND)('takes its first bytes with the opening over %s', async (kind) => {
    await start();
    const [greeting, circuit] = [Buffer.from('hello bob'), circuitId()];
    const [a, b] = await Promise.all([
      deployment.link().open(ticket(0, circuit), alice, { kinds: [kind], greeting }),
      deployment.link().open(ticket(1, circuit), bob),
    ]);
    a.pipe.end(', and goodbye');
    expect((await readAll(b.pipe)).toString()).toBe('hello bob, and goodbye');
  });

  it.each([false, true])(
    'over HTTP/1.1 is the kernel’s own socket for the peer’s TLS (TLS: %s)',
    async (tls) => {
      await start({ tls });
      const link = deployment.link();
      const { kind, pipe } = await link.open(ticket(0, circuitId()), alice);
      expect(kind).toBe('relay-h1');
      expect(pipe).toBeInstanceOf(tls ? TLSSocket : Socket);
    },
  );

  it.each(KINDS)('carries 32 MiB each way unchanged between %s and %s', async (...kinds) => {
    await start();
    const [a, b] = await openBoth({ kinds });
    const size = 32 * 1024 * 1024;
    const block = () => randomBytes(256 * 1024);
    const received = Promise.all([hashOf(a, size), hashOf(b, size)]);
    const sent = await Promise.all([pour(b, 128, block()), pour(a, 128, block())]);
    expect(await received).toEqual(sent);
  });

  it.each(EACH_KIND)('works over %s under TLS, its tickets bound to the connection', async (kind) => {
    await start({ tls: true });
    const link = deployment.link();
    await link.warm();
    const [a, b] = await openBoth({ links: [link, deployment.link()], kinds: [kind, kind] });
    a.end('over TLS');
    expect((await readAll(b)).toString()).toBe('over TLS');
  });

  it.each(EACH_KIND)(
    'over %s goes through an HTTP proxy by CONNECT, be that spoken to over TLS or not',
    async (kind) => {
      await start();
      for (const tls of [undefined, selfSignedTls(deployment.home)]) {
        vi.stubEnv('NODE_TLS_REJECT_UNAUTHORIZED', tls && '0');
        const proxy = await TinyProxy.start(tls);
        deployment.onClose(() => proxy.close());
        const link = deployment.link(deployment.server.url, { http_proxy: proxy.url });
        const [a, b] = await openBoth({ links: [link, deployment.link()], kinds: [kind, 'relay-h1'] });
        a.end('through the proxy');
        expect((await readAll(b)).toString()).toBe('through the proxy');
        expect(proxy.asked).toEqual([new URL(deployment.server.url).host]);
      }
    },
  );

  it.each([
    ['relay-h1', 'relay-h1', false],
    ['relay-h1', 'relay-h1', true],
    ['relay-h2', 'relay-h2', false],
    ['relay-h1', 'relay-h2', false],
    ['relay-h2', 'relay-h1', false],
  ] as const)(
    'ends in one direction and goes on in the other, %s to %s (TLS: %s)',
    async (one, other, tls) => {
      await start({ tls });
      const [a, b] = await openBoth({ kinds: [one, other] });
      const [question, answer] = [randomBytes(1_000_000), randomBytes(2_000_000)];
      a.end(question);
      expect((await readAll(b)).equals(question)).toBe(true);
      b.write(answer);
      await sleep(50);
      b.end('over');
      expect((await readAll(a)).equals(Buffer.concat([answer, Buffer.from('over')]))).toBe(true);
      for (const leg of [a, b]) if (!leg.destroyed) await once(leg, 'close');
    },
  );

  it.each(KINDS)('delivers what was written before one leg ended, %s to %s', async (...kinds) => {
    await start();
    const [a, b] = await openBoth({ kinds });
    const body = randomBytes(3_000_000);
    a.end(body);
    expect((await readAll(b)).equals(body)).toBe(true);
  });

  it.each(KINDS)('ends when the other leg is destroyed, %s and %s', async (...kinds) => {
    await start();
    const [a, b] = await openBoth({ kinds });
    a.write('x');
    await readBytes(b, 1);
    a.destroy();
    b.once('end', () => b.end()); // a TCP connection that is gone ends as one that is half closed
    b.resume();
    await once(b, 'close');
    expect(b.destroyed).toBe(true);
  });

  it.each([false, true])(
    'leaves no half-closed leg behind when it is opened again (TLS: %s)',
    async (tls) => {
      await start({ tls });
      const circuit = circuitId();
      const [a, b] = await openBoth({ circuit });
      for (const leg of [a, b]) leg.on('error', () => undefined);
      a.end();
      await readAll(b);
      await openOne('relay-h1', ticket(0, circuit));
      const isClosed = () => {
        b.write('x'); // is answered by a reset where nobody holds the other end
        return b.closed;
      };
      await expect.poll(isClosed).toBe(true);
    },
  );

  it('can be opened again when a leg has died in silence', async () => {
    await start();
    const links = [deployment.link(), deployment.link()] as const;
    const circuit = circuitId();
    const old = await openBoth({ links, circuit });
    old[0].write('x');
    await readBytes(old[1], 1);
    old[0].resume();
    const a = await openOne('relay-h1', ticket(0, circuit), links[0]);
    await expect.poll(() => old.map(({ closed }) => closed)).toEqual([true, true]); // by a reset, maybe
    const b = (await links[1].open(ticket(1, circuit), bob)).pipe;
    a.end('again');
    expect((await readAll(b)).toString()).toBe('again');
  });
});

describe('backpressure', () => {
  /** Writes until the pipe has taken nothing for a while. */
  const fill = async (pipe: Duplex): Promise<number> => {
    let sent = 0;
    for (;;) {
      sent += 256 * 1024;
      if (pipe.write(Buffer.alloc(256 * 1024))) continue;
      const stuck = await Promise.race([once(pipe, 'drain').then(() => false), sleep(1_000, true)]);
      if (stuck) return sent;
    }
  };

  it.each(KINDS)('holds the sender back when the reader stops, %s to %s', async (...kinds) => {
    await start();
    const [a, b] = await openBoth({ kinds });
    a.write('x');
    await readBytes(b, 1);
    b.pause();
    const sent = await fill(a);
    // Two windows of 16 MiB, the buffers of both ends and the kernel's.
    expect(sent).toBeLessThan(48 * 1024 * 1024);
    const block = readBytes(b, sent);
    expect((await block).length).toBeGreaterThanOrEqual(sent - 1);
  });

  it.each(EACH_KIND)('holds back a leg over %s whose partner is not there yet', async (kind) => {
    await start();
    const circuit = circuitId();
    const a = await openOne(kind, ticket(0, circuit));
    const sent = await fill(a);
    expect(sent).toBeLessThan(12 * 1024 * 1024); // the kernel's buffers on loopback, most of it
    const b = (await deployment.link().open(ticket(1, circuit), bob)).pipe;
    expect((await readBytes(b, sent)).length).toBe(sent);
  });
});

describe('a ticket', () => {
  it.each(EACH_KIND)('is refused typed over %s unless it is right', async (kind) => {
    await start();
    const link = deployment.link();
    const circuit = circuitId();
    const open = (bytes: Uint8Array, as = alice) => refusalOf(link.open(bytes, as, { kinds: [kind] }));
    expect(await open(ticket(0, circuit, { expires: serverTime() - 1 }))).toBe('TICKET_EXPIRED');
    expect(await open(ticket(0, circuit, { relay: freshIdentity().id }))).toBe('TICKET_INVALID');
    expect(await open(ticket(0, circuit), bob)).toBe('TICKET_INVALID');
    expect(await open(randomBytes(158))).toBe('TICKET_INVALID');
    const foreign = {
      circuit,
      leg: 0 as const,
      peer: alice.id,
      relay: key.id,
      expires: serverTime() + 1_000,
    };
    expect(await open(issueTicket(freshIdentity(), { ...foreign, bytesPerSecond: 0 }))).toBe(
      'TICKET_INVALID',
    );
  });

  it('opens once with the same random bytes, and not at all without any', async () => {
    await start();
    const session = connectHttp2(deployment.server.url);
    deployment.onClose(() => session.destroy());
    await once(session, 'remoteSettings');
    const opening = signOpening(alice, ticket(0, circuitId()), new Uint8Array(16), new Uint8Array(0));
    const status = async (header: string | undefined) => {
      const stream = session.request(
        {
          ':method': 'CONNECT',
          ':protocol': 'sallyport',
          ':scheme': 'http',
          ':path': '/v1/circuit',
          ':authority': 'x',
          ...(header && { 'sallyport-ticket': header }),
        },
        { endStream: false },
      );
      stream.on('error', () => undefined);
      const [headers] = (await once(stream, 'response')) as [Record<string, unknown>];
      return headers[':status'];
    };
    expect(await status(undefined)).toBe(403);
    expect(await status(opening)).toBe(200);
    expect(await status(opening)).toBe(403);
  });

  it('doesn’t let a leg wait longer than ten seconds', async () => {
    await start();
    const circuit = await openOne('relay-h1', ticket(0, circuitId()));
    const began = performance.now();
    circuit.resume();
    await new Promise((resolve) => circuit.once('close', resolve)); // reset
    expect(performance.now() - began).toBeGreaterThan(9_000);
  });

  it.each(['relay-h1', 'relay-h2'] as const)('counts over %s against the caps of its peer', async (kind) => {
    await start();
    const link = deployment.link();
    const circuits: Duplex[] = [];
    const most = LIMITS.waitingLegsPerPeer;
    for (let i = 0; i < most; i++) circuits.push(await openOne(kind, ticket(0, circuitId()), link));
    expect(await refusalOf(link.open(ticket(0, circuitId()), alice, { kinds: [kind] }))).toBe('LIMIT');
    expect(circuits.filter(({ destroyed }) => !destroyed)).toHaveLength(most);
  });
});

describe('the kind of a leg', () => {
  const through = async (options: MiddleboxOptions) => {
    await start();
    const box = await Middlebox.start(deployment.server.url, options);
    deployment.onClose(() => box.close());
    const link = deployment.link(box.url);
    return { box, link, open: () => link.open(ticket(0, circuitId()), alice) };
  };

  it.each([
    ['relay-h1', 'lets everything through', {}],
    ['relay-h1', 'speaks HTTP/1.1 only', { http1Only: true }],
    ['relay-h2', 'strips upgrades', { upgrades: [] }],
    ['relay-ws', 'lets WebSockets through and nothing else', { http1Only: true, upgrades: ['websocket'] }],
  ])('is %s where a middlebox %s, at once', async (kind, _what, options) => {
    const { open } = await through(options);
    const began = performance.now();
    expect((await open()).kind).toBe(kind);
    expect(performance.now() - began).toBeLessThan(1_500); // no time limit was waited for
  });

  it('is another one within seconds where a middlebox swallows the upgrade', async () => {
    const { open } = await through({ upgrades: [], swallows: true });
    expect((await open()).kind).toBe('relay-h2');
  });

  it('is remembered until the network changes', async () => {
    const { box, link, open } = await through({ upgrades: [] });
    await open();
    expect(box.connections).toBe(2); // the upgrade that failed, and HTTP/2
    expect((await open()).kind).toBe('relay-h2');
    expect(box.connections).toBe(2);
    link.reset();
    await open();
    expect(box.connections).toBe(4);
  });

  it('takes the warm connection and has another one made', async () => {
    const { box, link, open } = await through({});
    await link.warm();
    expect(box.connections).toBe(1);
    await Promise.all([open(), open()]);
    expect(box.connections).toBeGreaterThanOrEqual(2);
    await link.warm();
    expect(box.connections).toBe(3);
  });
});

describe('abuse', () => {
  it('of a standing connection by anything but an opening ends it', async () => {
    await start();
    const { hostname, port } = new URL(deployment.server.url);
    const upgraded = async (): Promise<Socket> => {
      const socket = connectTcp(Number(port), hostname);
      socket.write(
        'GET /v1/circuit HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: sallyport\r\n\r\n',
      );
      await once(socket, 'data');
      return socket;
    };
    const alive = await upgraded();
    alive.write(Buffer.of(0));
    expect(await once(alive, 'data')).toEqual([Buffer.of(0)]);
    for (const bytes of [Buffer.of(9), Buffer.alloc(100), Buffer.from(`\u0001${'x'.repeat(318)}`)]) {
      const socket = await upgraded();
      socket.end(bytes);
      const answer = await readAll(socket);
      expect(answer.toString('latin1').replaceAll('\0', '')).toBe(
        bytes[0] === 1 ? '\u0002TICKET_INVALID' : '',
      );
    }
    alive.destroy();
    const slow = await upgraded();
    slow.on('error', () => undefined).resume();
    const dribble = setInterval(() => slow.write(Buffer.of(1)), 500);
    await once(slow, 'close'); // long before 318 bytes have come
    clearInterval(dribble);
  });

  it('of standing connections is bounded per address, while opened ones are their peers’', async () => {
    await start();
    await fillAddress(LIMITS.connectionsPerAddress - 8);
    const link = deployment.link();
    const legs: Duplex[] = [];
    for (let circuit = 0; circuit < 34; circuit++) {
      legs.push(...(await openBoth({ links: [link, link] })));
    }
    expect(legs.filter(({ destroyed }) => !destroyed)).toHaveLength(68);
    expect((await deployment.node()).signal.grant).toBeDefined();
  });

  it('of HTTP/2 by resets ends the connection, and nobody else’s', async () => {
    await start();
    const session = connectHttp2(deployment.server.url);
    session.on('error', () => undefined);
    await once(session, 'remoteSettings');
    const closed = new Promise((resolve) => session.once('close', resolve));
    let resets = 0;
    while (!session.closed && !session.destroyed && resets < 5_000) {
      const stream = session.request({ ':path': '/', ':method': 'GET' });
      stream.on('error', () => undefined);
      stream.close(constants.NGHTTP2_CANCEL);
      if (++resets % 50 === 0) await sleep(1);
    }
    await closed;
    expect(resets).toBeLessThan(5_000);
    const [a, b] = await openBoth();
    a.end('fine');
    expect((await readAll(b)).toString()).toBe('fine');
  });

  it.each([false, true])(
    'of HTTP/2 by pages asked for without end ends the connection (TLS: %s)',
    async (tls) => {
      await start({ tls });
      const session = connectHttp2(deployment.server.url, { ca: deployment.ca });
      session.on('error', () => undefined);
      await once(session, 'remoteSettings');
      let pages = 0;
      while (!session.closed && !session.destroyed && pages < 1_000) {
        const stream = session.request({ ':path': '/' }).on('error', () => undefined);
        stream.resume();
        await new Promise((resolve) => stream.once('close', resolve));
        pages += 1;
      }
      expect(pages).toBeGreaterThan(100);
      expect(pages).toBeLessThan(1_000);
      const [a, b] = await openBoth();
      a.end('fine');
      expect((await readAll(b)).toString()).toBe('fine');
    },
  );

  it('of HTTP/2 by pages asked for on one connection after another is bounded for its address', async () => {
    await start();
    /** Of one connection: less than would end that one. */
    const ask = async (localAddress: string): Promise<number> => {
      const { hostname: host, port } = new URL(deployment.server.url);
      const socket = connectTcp({ host, port: Number(port), localAddress });
      const session = connectHttp2(deployment.server.url, { createConnection: () => socket });
      session.on('error', () => undefined);
      let answered = 0;
      for (let n = 0; n < 100 && !session.closed && !session.destroyed; n++) {
        const stream = session.request({ ':path': '/' }).on('error', () => undefined);
        stream.once('response', () => (answered += 1)).resume();
        await new Promise((resolve) => stream.once('close', resolve));
      }
      session.destroy();
      return answered;
    };
    let connections = 0;
    while (connections < 60 && (await ask('127.0.0.3')) === 100) connections += 1;
    expect(connections).toBeGreaterThanOrEqual(10);
    expect(connections).toBeLessThan(60);
    expect(await ask('127.0.0.4')).toBe(100);
  });

  it('of HTTP/2 is no place for answers that a stranger never takes', async () => {
    await start();
    const session = connectHttp2(deployment.server.url, { settings: { initialWindowSize: 0 } });
    session.on('error', () => undefined);
    await once(session, 'remoteSettings');
    const ask = (headers: OutgoingHttpHeaders) => session.request(headers).on('error', () => undefined);
    const circuit = {
      ':method': 'CONNECT',
      ':protocol': 'sallyport',
      ':path': '/v1/circuit',
      ':scheme': 'http',
    };
    await once(ask(circuit).resume(), 'close'); // a refusal needs no window
    const pages = Array.from({ length: 8 }, () => ask({ ':path': '/' }));
    await Promise.all(pages.map((page) => once(page, 'response')));
    await once(ask({ ':path': '/' }).resume(), 'close');
    expect(pages.filter(({ closed }) => closed)).toEqual([]);
    session.destroy();
  });

  it('of a stranger’s window: 64 KiB until a ticket is accepted', async () => {
    await start();
    const session = connectHttp2(deployment.server.url);
    deployment.onClose(() => session.destroy());
    await once(session, 'remoteSettings');
    expect(session.remoteSettings.initialWindowSize).toBe(65_535);
    expect(session.remoteSettings.maxConcurrentStreams).toBe(128);
  });

  it('of connections is bounded per address', async () => {
    await start();
    const sockets = await fillAddress(LIMITS.connectionsPerAddress + 16);
    const open = () => sockets.filter(({ destroyed }) => !destroyed).length;
    await expect.poll(open).toBe(LIMITS.connectionsPerAddress);
    const [refused] = await once(deployment.signal(), 'down');
    expect(refused).toMatchObject({
      code: 'RENDEZVOUS_UNREACHABLE',
      hint: expect.stringContaining('connections from this address'),
    });
    await expect.poll(open, { timeout: 10_000 }).toBe(0); // silent for five seconds
    expect((await deployment.node()).signal.grant).toBeDefined();
  });
});

describe('a relay of its own', () => {
  it('is announced by the rendezvous and carries the circuits it gives tickets for', async () => {
    await start({ relay: false });
    const callee = await deployment.node();
    const announced = once(callee.signal, 'relays');
    const relay = await RelayServer.start({
      rendezvous: deployment.server.joinUrl,
      listen: '127.0.0.1:0',
      stunPort: 0,
      insecure: true,
      home: join(deployment.home, 'relay'),
    });
    deployment.onClose(() => relay.close());
    await announced;
    expect(callee.signal.relays).toEqual([
      { id: relay.id, url: relay.url, stun: relay.stun.udp.slice(0, 1) },
    ]);

    const caller = await deployment.node({ role: 'dial' });
    // It knows no registrations, so its STUN can't authenticate an answer: it is no server of the registration's.
    expect(caller.signal.grant!.stun.udp).toEqual(deployment.server.stun.udp);
    const offered = next(callee.signal, 'offer');
    const session = new Uint8Array(randomBytes(16));
    caller.signal.send({ t: 'offer', session, to: callee.identity.publicKey, noise: new Uint8Array(96) });
    const offer = await offered;
    const answered = next(caller.signal, 'answer');
    const { from: to, instance } = offer;
    callee.signal.send({ t: 'answer', session, to, instance, noise: new Uint8Array(96) });
    const answer = await answered;
    const { pipe: b } = await deployment.link(relay.url).open(offer.tickets[0]!, callee.identity);
    const { pipe: a } = await deployment.link(relay.url).open(answer.tickets[0]!, caller.identity);
    a.end('by the other relay');
    expect((await readAll(b)).toString()).toBe('by the other relay');
  });

  it('needs the join token', async () => {
    await start();
    const { url, id } = deployment.server;
    const home = join(deployment.home, 'relay');
    const options = { listen: '127.0.0.1:0', stunPort: 0, insecure: true, home };
    await expect(RelayServer.start({ ...options, rendezvous: `${url}#id=${id}` })).rejects.toMatchObject({
      code: 'TOKEN_INVALID',
    });
  });
});
