import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectHttp2, constants } from 'node:http2';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import type { SallyportError } from '../../src/core/errors.ts';
import type { Identity } from '../../src/core/identity.ts';
import { issueTicket, signOpening, type Ticket } from '../../src/core/protocol/ticket.ts';
import type { Circuit } from '../../src/net/circuit.ts';
import { loadIdentity } from '../../src/net/identity-file.ts';
import type { RelayLink } from '../../src/net/relay-link.ts';
import { serverTime } from '../../src/net/server-clock.ts';
import { RelayServer } from '../../relay/server.ts';
import { freshIdentity, next, TestDeployment } from '../rendezvous/deployment.ts';
import { TinyProxy } from '../net/tiny-proxy.ts';
import { Http1Gate } from './http1-gate.ts';

let deployment: TestDeployment;
let key: Identity;
afterEach(async () => deployment.close());

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

/** Both legs of one circuit, leg 0 by the first link. */
function openBoth(links: readonly [RelayLink, RelayLink]): [Circuit, Circuit] {
  const circuit = circuitId();
  return [links[0].open(ticket(0, circuit), alice), links[1].open(ticket(1, circuit), bob)];
}

async function linkTo(kind: 'relay-h2' | 'relay-ws'): Promise<RelayLink> {
  if (kind === 'relay-h2') return deployment.link();
  const gate = await Http1Gate.start(deployment.server.url);
  deployment.onClose(() => gate.close());
  return deployment.link(gate.url);
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

async function failureOf(circuit: Circuit): Promise<string> {
  const [error] = (await once(circuit, 'error')) as [SallyportError];
  return error.code;
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

const KINDS = [
  ['relay-h2', 'relay-h2'],
  ['relay-ws', 'relay-ws'],
  ['relay-h2', 'relay-ws'],
] as const;

describe('a circuit', () => {
  it.each(KINDS)('carries bytes both ways between %s and %s, the first ones at once', async (...kinds) => {
    await start();
    const [a, b] = openBoth([await linkTo(kinds[0]), await linkTo(kinds[1])]);
    a.write('hello bob');
    b.write('hello alice');
    const [forBob, forAlice] = await Promise.all([readBytes(b, 9), readBytes(a, 11)]);
    expect([forBob.toString(), forAlice.toString()]).toEqual(['hello bob', 'hello alice']);
    expect([a.kind, b.kind]).toEqual(kinds);
  });

  it.each(KINDS)('carries 64 MiB each way unchanged between %s and %s', async (...kinds) => {
    await start();
    const [a, b] = openBoth([await linkTo(kinds[0]), await linkTo(kinds[1])]);
    const size = 64 * 1024 * 1024;
    const block = () => randomBytes(256 * 1024);
    const received = Promise.all([hashOf(a, size), hashOf(b, size)]);
    const sent = await Promise.all([pour(b, 256, block()), pour(a, 256, block())]);
    expect(await received).toEqual(sent);
  });

  it('works under TLS, its tickets bound to the connection', async () => {
    await start({ tls: true });
    const link = deployment.link();
    await link.warm();
    const [a, b] = openBoth([link, deployment.link()]);
    a.end('over TLS');
    expect((await readAll(b)).toString()).toBe('over TLS');
  });

  it('goes through an HTTP proxy by CONNECT', async () => {
    await start();
    const proxy = await TinyProxy.start();
    deployment.onClose(() => proxy.close());
    const link = deployment.link(deployment.server.url, { http_proxy: proxy.url });
    const [a, b] = openBoth([link, deployment.link()]);
    a.end('through the proxy');
    expect((await readAll(b)).toString()).toBe('through the proxy');
    expect(proxy.asked).toEqual([new URL(deployment.server.url).host]);
  });

  it('over HTTP/2 may end in one direction and go on in the other', async () => {
    await start();
    const [a, b] = openBoth([deployment.link(), deployment.link()]);
    a.end('question');
    expect((await readAll(b)).toString()).toBe('question');
    b.write('ans');
    await sleep(50);
    b.end('wer');
    expect((await readAll(a)).toString()).toBe('answer');
  });

  it.each(KINDS)('delivers what was written before one leg ended, %s to %s', async (...kinds) => {
    await start();
    const [a, b] = openBoth([await linkTo(kinds[0]), await linkTo(kinds[1])]);
    const body = randomBytes(3_000_000);
    a.end(body);
    expect((await readAll(b)).equals(body)).toBe(true);
  });

  it('ends when the other leg is destroyed', async () => {
    await start();
    const [a, b] = openBoth([deployment.link(), deployment.link()]);
    a.write('x');
    await readBytes(b, 1);
    a.destroy();
    b.resume();
    await once(b, 'close');
    expect(b.destroyed).toBe(true);
  });

  it('can be opened again when a leg has died in silence', async () => {
    await start();
    const [link1, link2] = [deployment.link(), deployment.link()];
    const circuit = circuitId();
    const old = [link1.open(ticket(0, circuit), alice), link2.open(ticket(1, circuit), bob)] as const;
    old[0].write('x');
    await readBytes(old[1], 1);
    old[0].resume();
    const a = link1.open(ticket(0, circuit), alice);
    await Promise.all(old.map((leg) => once(leg, 'close')));
    const b = link2.open(ticket(1, circuit), bob);
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
    const [a, b] = openBoth([await linkTo(kinds[0]), await linkTo(kinds[1])]);
    a.write('x');
    await readBytes(b, 1);
    b.pause();
    const sent = await fill(a);
    // Two windows of 16 MiB, the buffers of both ends and the kernel's.
    expect(sent).toBeLessThan(48 * 1024 * 1024);
    const block = readBytes(b, sent);
    expect((await block).length).toBeGreaterThanOrEqual(sent - 1);
  });

  it.each(['relay-h2', 'relay-ws'] as const)(
    'holds back a leg over %s whose partner is not there yet',
    async (kind) => {
      await start();
      const link = await linkTo(kind);
      const circuit = circuitId();
      const a = link.open(ticket(0, circuit), alice);
      const sent = await fill(a);
      expect(sent).toBeLessThan(12 * 1024 * 1024); // the kernel's buffers on loopback, most of it
      const b = deployment.link().open(ticket(1, circuit), bob);
      expect((await readBytes(b, sent)).length).toBe(sent);
    },
  );
});

describe('a ticket', () => {
  it.each(['relay-h2', 'relay-ws'] as const)('is refused typed over %s unless it is right', async (kind) => {
    await start();
    const link = await linkTo(kind);
    const circuit = circuitId();
    const open = (bytes: Uint8Array, as = alice) => failureOf(link.open(bytes, as));
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
    expect(await failureOf(link.open(ticket(0, circuit), bob))).toBe('TICKET_INVALID');
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
    const circuit = deployment.link().open(ticket(0, circuitId()), alice);
    const began = performance.now();
    circuit.resume();
    await once(circuit, 'close');
    expect(performance.now() - began).toBeGreaterThan(9_000);
  });

  it('counts against the caps of its peer', async () => {
    await start();
    const link = deployment.link();
    await link.warm();
    const circuits = Array.from({ length: 33 }, () => link.open(ticket(0, circuitId()), alice));
    expect(await failureOf(circuits[32]!)).toBe('LIMIT');
    expect(circuits.filter(({ destroyed }) => !destroyed)).toHaveLength(32);
  });
});

describe('abuse', () => {
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
    const [a, b] = openBoth([deployment.link(), deployment.link()]);
    a.end('fine');
    expect((await readAll(b)).toString()).toBe('fine');
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
    const { hostname, port } = new URL(deployment.server.url);
    const { connect } = await import('node:net');
    const sockets = Array.from({ length: 80 }, () =>
      connect(Number(port), hostname).on('error', () => undefined),
    );
    deployment.onClose(() => sockets.forEach((socket) => socket.destroy()));
    await Promise.all(sockets.slice(64).map((socket) => once(socket.resume(), 'close')));
    expect(sockets.filter(({ destroyed }) => !destroyed).length).toBeLessThanOrEqual(64);
    await Promise.all(sockets.slice(0, 64).map((socket) => once(socket.resume(), 'close'))); // silent for five seconds
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
      home: mkdtempSync(join(tmpdir(), 'sallyport-relay-')),
    });
    deployment.onClose(() => relay.close());
    await announced;
    expect(callee.signal.relays).toEqual([{ id: relay.id, url: relay.url }]);

    const caller = await deployment.node({ role: 'dial' });
    // It knows no registrations, so its STUN could not authenticate an answer: nobody is sent there.
    expect(caller.signal.grant!.stun.udp).toEqual(deployment.server.stun.udp);
    const offered = next(callee.signal, 'offer');
    const session = new Uint8Array(randomBytes(16));
    caller.signal.send({ t: 'offer', session, to: callee.identity.publicKey, noise: new Uint8Array(96) });
    const offer = await offered;
    const answered = next(caller.signal, 'answer');
    const { from: to, instance } = offer;
    callee.signal.send({ t: 'answer', session, to, instance, noise: new Uint8Array(96) });
    const answer = await answered;
    const b = deployment.link(relay.url).open(offer.tickets[0]!, callee.identity);
    const a = deployment.link(relay.url).open(answer.tickets[0]!, caller.identity);
    a.end('by the other relay');
    expect((await readAll(b)).toString()).toBe('by the other relay');
  });

  it('needs the join token', async () => {
    await start();
    const { url, id } = deployment.server;
    const home = mkdtempSync(join(tmpdir(), 'sallyport-relay-'));
    const options = { listen: '127.0.0.1:0', stunPort: 0, insecure: true, home };
    await expect(RelayServer.start({ ...options, rendezvous: `${url}#id=${id}` })).rejects.toMatchObject({
      code: 'TOKEN_INVALID',
    });
  });
});
