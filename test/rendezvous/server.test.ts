import { once } from 'node:events';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { connect, createServer, type AddressInfo } from 'node:net';
import { randomBytes } from 'node:crypto';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { WebSocket } from 'ws';
import type { SallyportError } from '../../src/core/errors.ts';
import {
  decodeToNode,
  encodeMessage,
  HELLO_HEADER,
  helloHeaders,
  type ToNode,
} from '../../src/core/protocol/rendezvous.ts';
import { readTicket } from '../../src/core/protocol/ticket.ts';
import { TinyProxy } from '../net/tiny-proxy.ts';
import { ManualClock } from '../peer/manual-clock.ts';
import { Middlebox } from '../relay/middlebox.ts';
import { systemClock } from '../../src/net/clock.ts';
import type { Grant } from '../../src/net/register.ts';
import { freshIdentity, next, selfSignedTls, TestDeployment } from './deployment.ts';
import { stoppablePipe } from './stoppable-pipe.ts';
import { Registry } from '../../rendezvous/registry.ts';
import { RendezvousServer } from '../../rendezvous/server.ts';

let deployment: TestDeployment;
afterEach(async () => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  await deployment.close();
});

const bytes = (length: number) => new Uint8Array(randomBytes(length));

describe('signalling between two nodes', () => {
  it.each([{ tls: false }, { tls: true }])('carries offer, answer and trickle (%o)', async ({ tls }) => {
    deployment = await TestDeployment.start({ tls });
    const { id } = deployment.server;
    const bob = await deployment.node();
    const alice = await deployment.node({ role: 'dial' });
    const [session, noise1, noise2, box] = [bytes(16), bytes(96), bytes(96), bytes(200)];

    const offered = next(bob.signal, 'offer');
    expect(alice.signal.send({ t: 'offer', session, to: bob.identity.publicKey, noise: noise1 })).toBe(true);
    const offer = await offered;
    expect(offer).toMatchObject({ from: alice.identity.publicKey, instance: alice.signal.instance });
    expect(Buffer.from(offer.noise)).toEqual(Buffer.from(noise1));
    expect(readTicket(offer.tickets[0]!, id)).toMatchObject({ leg: 1, peer: bob.identity.id });

    const answered = next(alice.signal, 'answer');
    const to = offer.from;
    bob.signal.send({ t: 'answer', session, to, instance: offer.instance, noise: noise2 });
    const answer = await answered;
    expect(readTicket(answer.tickets[0]!, id)).toMatchObject({ leg: 0, peer: alice.identity.id });

    const trickled = next(alice.signal, 'trickle');
    bob.signal.send({ t: 'trickle', session, to, instance: offer.instance, box });
    expect(Buffer.from((await trickled).box)).toEqual(Buffer.from(box));
  });

  it('fills in addresses and URLs, and measures the rendezvous’s clock', async () => {
    deployment = await TestDeployment.start();
    const { signal } = await deployment.node();
    const grant = signal.grant!;
    expect(grant.deployment).toBe(deployment.server.id);
    expect(grant.observed?.address).toBe('127.0.0.1');
    expect(grant.stun.udp).toEqual(deployment.server.stun.udp);
    expect(grant.relays).toEqual([{ id: deployment.server.id, url: deployment.server.url }]);
    const error = () => Math.abs(performance.timeOrigin - signal.offsetMs!);
    await expect.poll(error, { timeout: 10_000 }).toBeLessThan(50);
    expect(signal.rttMs).toBeLessThan(1_000);
  });

  it('has measured clock and round trip as soon as it is registered: an offer that leaves at once names them', async () => {
    deployment = await TestDeployment.start();
    const began = performance.now();
    const signal = deployment.signal();
    const measured = new Promise<[error: number, rttMs: number]>((resolve) => {
      const error = () => Math.abs(performance.timeOrigin - signal.offsetMs!);
      signal.once('registered', () => resolve([error(), signal.rttMs!]));
    });
    const [error, rttMs] = await measured;
    const tookMs = performance.now() - began;
    expect(rttMs).toBeGreaterThan(0);
    expect(rttMs).toBeLessThan(tookMs);
    expect(error).toBeLessThan(tookMs);
  });

  it('tells of a peer that isn’t there', async () => {
    deployment = await TestDeployment.start();
    const { signal } = await deployment.node({ role: 'dial' });
    const session = bytes(16);
    const failed = next(signal, 'error');
    signal.send({ t: 'offer', session, to: freshIdentity().publicKey, noise: bytes(96) });
    expect(await failed).toMatchObject({ code: 'PEER_OFFLINE' });
  });
});

describe('a hello that travels with the upgrade', () => {
  const hello = () => ({
    t: 'hello' as const,
    version: 1,
    id: freshIdentity().publicKey,
    role: 'dial' as const,
    nonce: bytes(32),
    boot: bytes(16),
    instance: bytes(16),
  });

  it('is answered before its WebSocket says anything, and is nothing new when it comes again', async () => {
    deployment = await TestDeployment.start();
    const said = hello();
    const url = deployment.server.url.replace('http', 'ws') + '/v1/signal';
    const socket = new WebSocket(url, { headers: helloHeaders(said) });
    const answers: ToNode[] = [];
    socket.on('message', (data) => answers.push(decodeToNode(data as Buffer)));
    await vi.waitFor(() => expect(answers).toHaveLength(1));
    expect(answers[0]).toMatchObject({ t: 'challenge', admission: 'token' });
    socket.send(encodeMessage(said));
    socket.send(encodeMessage(said)); // once is enough
    await once(socket, 'close');
    expect(answers.slice(1)).toMatchObject([
      { t: 'error', code: 'PROTOCOL_ERROR', message: 'hello came out of turn' },
    ]);
  });

  it('comes as a message where it is too long for a header, or something on the way keeps that', async () => {
    deployment = await TestDeployment.start();
    const relay = { url: `https://${'x'.repeat(200)}/${'y'.repeat(90)}`, stunUdp: [], stunTcp: [] };
    expect(helloHeaders({ ...hello(), relay })).toHaveProperty(HELLO_HEADER);
    expect(helloHeaders({ ...hello(), relay, successions: bytes(832) })).toEqual({});

    const { hostname, port } = new URL(deployment.server.url);
    const keeper = createServer((near) => {
      const far = connect(Number(port), hostname);
      far.pipe(near);
      near.once('data', (request: Buffer) => {
        far.write(request.toString('latin1').replace(HELLO_HEADER, 'x-lost'), 'latin1');
        near.pipe(far);
      });
    }).listen(0, '127.0.0.1');
    deployment.onClose(() => void keeper.close());
    await once(keeper, 'listening');
    const { signal } = await deployment.node({
      url: `http://127.0.0.1:${(keeper.address() as AddressInfo).port}`,
    });
    expect(signal.grant?.deployment).toBe(deployment.server.id);
  });

  it('ends a connection whose header is no hello', async () => {
    deployment = await TestDeployment.start();
    const url = deployment.server.url.replace('http', 'ws') + '/v1/signal';
    for (const header of ['', 'rubbish', 'A'.repeat(6_000)]) {
      const socket = new WebSocket(url, { headers: { [HELLO_HEADER]: header } });
      const [data] = (await once(socket, 'message')) as [Buffer];
      expect(decodeToNode(data)).toMatchObject({ t: 'error' });
      await once(socket, 'close');
    }
  });
});

describe('admission over the wire', () => {
  const failure = async (options: Parameters<TestDeployment['signal']>[0]): Promise<string> => {
    const [error] = (await once(deployment.signal(options), 'error')) as [SallyportError];
    return error.code;
  };

  it('ends a node with a typed error when trying again can’t help', async () => {
    deployment = await TestDeployment.start();
    expect(await failure({ token: 'a wrong token of some length' })).toBe('TOKEN_INVALID');
    expect(await failure({ token: undefined })).toBe('TOKEN_INVALID');
    expect(await failure({ deployment: freshIdentity().id })).toBe('IDENTITY_CHANGED');
    const { identity } = await deployment.node();
    expect(await failure({ identity })).toBe('ALREADY_REGISTERED');
  });

  it('keeps to the first deployment that it sees, where none is pinned', async () => {
    deployment = await TestDeployment.start();
    const signal = deployment.signal({ deployment: undefined });
    expect(signal.deployment).toBeUndefined();
    const grant = await signal.whenRegistered();
    expect(grant.deployment).toBe(deployment.server.id);
    expect(signal.deployment).toBe(deployment.server.id);
  });

  it('needs no token where everybody is welcome', async () => {
    deployment = await TestDeployment.start({ open: true });
    expect(deployment.server.joinUrl).not.toContain('token');
    const { signal } = await deployment.node({ token: undefined });
    expect(signal.grant).toBeDefined();
  });

  it('keeps key and token to the owner, and the same over a restart', async () => {
    deployment = await TestDeployment.start();
    const { home, server } = deployment;
    for (const file of ['rendezvous.key', 'join-token'])
      expect(statSync(join(home, file)).mode & 0o777).toBe(0o600);
    const again = await RendezvousServer.start({ listen: '127.0.0.1:0', stunPort: 0, insecure: true, home });
    const fragment = (url: string) => url.replace(/.*#/, '');
    expect(fragment(again.joinUrl)).toBe(fragment(server.joinUrl));
    await again.close();
  });

  it('refuses to start without TLS unless told to, on a port that is taken, and where no URL leads', async () => {
    deployment = await TestDeployment.start();
    const { home, server } = deployment;
    const listen = new URL(server.url).host;
    const start = (options: object) => RendezvousServer.start({ listen, stunPort: 0, home, ...options });
    await expect(start({})).rejects.toMatchObject({ code: 'USAGE' });
    await expect(start({ insecure: true })).rejects.toMatchObject({ code: 'PORT_IN_USE' });
    await expect(start({ tlsCert: join(home, 'none'), tlsKey: join(home, 'none') })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
    });
    await expect(start({ insecure: true, listen: '[fe80::1%lo]:0' })).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining('no URL can name'),
    });
  });
});

describe('coming back', () => {
  it('registers again with the same credentials when the connection is lost', async () => {
    deployment = await TestDeployment.start();
    const { signal } = await deployment.node();
    const { username } = signal.grant!.stun;
    signal.reconnectNow();
    expect(signal.send({ t: 'ping', sent: 0 })).toBe(false);
    const grant = await signal.whenRegistered();
    expect(grant.stun.username).toBe(username);
  });

  it('goes by no clock that it measured before the computer slept', async () => {
    deployment = await TestDeployment.start();
    let sleptMs = 0; // the monotonic clock stands still meanwhile
    const clock = { ...systemClock, now: () => systemClock.now() - sleptMs };
    const { signal } = await deployment.node({ clock });
    await vi.waitFor(() => expect(signal.offsetMs).toBeDefined(), { timeout: 15_000 });
    sleptMs = 60_000;
    const registered = once(signal, 'registered');
    signal.reconnectNow();
    const [{ time }] = (await registered) as [Grant];
    // Messages that waited at the rendezvous come before the first pong, and are judged by this.
    const offsetMs = signal.offsetMs ?? time - clock.now();
    expect(Math.abs(performance.timeOrigin + sleptMs - offsetMs)).toBeLessThan(5_000);
  });

  it('says so when it gives up a connection: that is no evidence that it is gone', async () => {
    deployment = await TestDeployment.start();
    const told = vi.spyOn(Registry.prototype, 'handle');
    const { signal } = await deployment.node();
    signal.reconnectNow();
    const ends = () =>
      told.mock.calls.map(([{ type }]) => type).filter((type) => /disconnected|abandoned/.test(type));
    await expect.poll(ends).toEqual(['abandoned']);
  });

  it('follows a rendezvous that restarts', async () => {
    deployment = await TestDeployment.start();
    const { signal } = await deployment.node();
    const listen = new URL(deployment.server.url).host;
    const down = once(signal, 'down');
    await deployment.server.drain();
    await down;
    const again = await RendezvousServer.start({
      listen,
      stunPort: 0,
      insecure: true,
      home: deployment.home,
    });
    deployment.onClose(() => again.close());
    const grant = await signal.whenRegistered();
    expect(grant.deployment).toBe(again.id);
  });

  it('is asked for more and more seldom where each connection is cut off as soon as it is registered', async () => {
    deployment = await TestDeployment.start();
    const box = await Middlebox.start(deployment.server.url, {});
    deployment.onClose(() => box.close());
    const clock = new ManualClock();
    const signal = deployment.signal({ url: box.url, clock });
    signal.on('registered', () => setImmediate(() => box.cut()));
    await once(signal, 'down');
    for (let rounds = 0; rounds < 100; rounds++) {
      await clock.pass(250);
      await sleep(50);
    }
    expect(box.connections).toBeLessThan(35);
  });

  it('is away, and breaks no rule, for whoever comes while it is stopped', async () => {
    deployment = await TestDeployment.start();
    const pipe = await stoppablePipe(deployment);
    pipe.stopNew();
    const signal = deployment.signal({ url: pipe.url });
    const failed = signal.whenRegistered({ firstAttemptOnly: true });
    await expect.poll(() => pipe.answered).toBeGreaterThan(0);
    const drained = deployment.server.drain();
    pipe.go();
    await expect(failed).rejects.toMatchObject({ code: 'RENDEZVOUS_UNREACHABLE' });
    await drained;
  });

  it('says in time that nobody is there', async () => {
    deployment = await TestDeployment.start();
    const signal = deployment.signal({ url: 'http://127.0.0.1:9' });
    await expect(signal.whenRegistered({ firstAttemptOnly: true })).rejects.toMatchObject({
      code: 'RENDEZVOUS_UNREACHABLE',
    });
  });

  it('goes through the proxy of the environment, and says when that wants a password', async () => {
    deployment = await TestDeployment.start({ tls: true });
    const proxy = await TinyProxy.start();
    deployment.onClose(() => proxy.close());
    const environment = { https_proxy: proxy.url.replace('//', '//user:pass@') };
    const { signal } = await deployment.node({ environment });
    expect(signal.grant!.stun.udp).toEqual(deployment.server.stun.udp);
    expect(proxy.asked).toEqual([new URL(deployment.server.url).host]);
    expect(proxy.credentials).toEqual([`Basic ${btoa('user:pass')}`]);
    proxy.refusal = 407;
    const [error] = (await once(deployment.signal({ environment }), 'error')) as [SallyportError];
    expect(error.code).toBe('NOT_AUTHORIZED');
  });

  it('waits for a proxy that lets it through no longer', async () => {
    deployment = await TestDeployment.start();
    const proxy = await TinyProxy.start();
    deployment.onClose(() => proxy.close());
    const { signal } = await deployment.node({ environment: { http_proxy: proxy.url } });
    proxy.refusal = 407;
    signal.reconnectNow();
    const [why] = (await once(signal, 'down')) as [SallyportError];
    expect(why.code).toBe('NOT_AUTHORIZED');
    proxy.refusal = undefined;
    expect(await signal.whenRegistered()).toBeDefined();
  });

  it('goes through a proxy that is spoken to over TLS, where the rendezvous itself is not', async () => {
    vi.stubEnv('NODE_TLS_REJECT_UNAUTHORIZED', '0');
    deployment = await TestDeployment.start();
    const proxy = await TinyProxy.start(selfSignedTls(deployment.home));
    deployment.onClose(() => proxy.close());
    const { signal } = await deployment.node({ environment: { http_proxy: proxy.url } });
    expect(signal.grant!.deployment).toBe(deployment.server.id);
    expect(proxy.asked).toHaveLength(1);
  });
});

describe('whoever sends rubbish', () => {
  const open = async (): Promise<WebSocket> => {
    const socket = new WebSocket(deployment.server.url.replace('http', 'ws') + '/v1/signal');
    socket.on('error', () => undefined);
    await once(socket, 'open');
    return socket;
  };
  const newcomer = async () => (await deployment.node()).signal.grant;
  /** The code of the error that came before the end, and the close code. */
  const outcome = async (socket: WebSocket): Promise<[string | undefined, number]> => {
    let code: string | undefined;
    socket.on('message', (data: Buffer) => {
      const message = decodeToNode(data);
      if (message.t === 'error') code = message.code;
    });
    const [closed] = (await once(socket, 'close')) as [number];
    return [code, closed];
  };

  it.each([
    ['random bytes', () => randomBytes(300), 'PROTOCOL_ERROR', 1008],
    ['text', () => 'hello', 'PROTOCOL_ERROR', 1008],
    ['more than a stranger may', () => encodeLong(8_000), 'LIMIT', 1008],
    ['an oversized frame', () => randomBytes(100_000), undefined, 1009],
    ['a message out of turn', () => encodeMessage({ t: 'ping', sent: 1 }), 'PROTOCOL_ERROR', 1008],
  ])('is told so and cut off: %s', async (_name, rubbish, code, closed) => {
    deployment = await TestDeployment.start();
    const socket = await open();
    const ended = outcome(socket);
    socket.send(rubbish());
    expect(await ended).toEqual([code, closed]);
    expect(await newcomer()).toBeDefined();
  });

  it('does no harm: a hundred connections of mutated messages', async () => {
    deployment = await TestDeployment.start();
    const hello = encodeMessage({
      t: 'hello',
      version: 1,
      id: bytes(32),
      role: 'listen',
      nonce: bytes(32),
      boot: bytes(16),
      instance: bytes(16),
    });
    for (let i = 0; i < 100; i++) {
      const socket = await open();
      const mutated = Buffer.from(hello);
      for (let flips = 0; flips < 3; flips++) {
        const at = randomBytes(2).readUInt16BE() % mutated.length;
        mutated[at]! ^= 1 << (i % 8);
      }
      socket.send(mutated);
      socket.send(randomBytes(i));
      await once(socket, 'close');
    }
    expect(await newcomer()).toBeDefined();
  });

  it('does no harm by plain TCP: nothing, garbage, half a request, absolute forms', async () => {
    deployment = await TestDeployment.start();
    const { hostname, port } = new URL(deployment.server.url);
    const answers: string[] = [];
    const requests = [
      'GET / HTTP/1.1\r\nhost: x\r\n\r\n',
      'GET http://127.0.0.1:22/ HTTP/1.1\r\nhost: x\r\n\r\n',
      'CONNECT 127.0.0.1:22 HTTP/1.1\r\nhost: x\r\n\r\n',
      `GET / HTTP/1.1\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`,
      'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' + '\xff'.repeat(100),
      '\x16\x03\x01\x00\xff',
      randomBytes(500).toString('latin1'),
    ];
    for (const request of requests) {
      const socket = connect(Number(port), hostname);
      socket.on('error', () => undefined);
      let answer = '';
      socket.on('data', (chunk: Buffer) => (answer += chunk.toString('latin1')));
      socket.write(Buffer.from(request, 'latin1'));
      await once(socket, 'close');
      answers.push(answer.slice(0, 12));
    }
    expect(answers.slice(0, 2)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 404']);
    expect(await newcomer()).toBeDefined();
  });

  it.each([
    ['GET', ['\x82', '\x84']],
    ['CONNECT', ['\x02\x07CONNECT', '\x00\x09:protocol\x11sallyport-circuit', '\x04\x0b/v1/circuit']],
  ])('does no harm by an HTTP/2 %s that is reset as it comes', async (_method, fields) => {
    deployment = await TestDeployment.start();
    const { hostname, port } = new URL(deployment.server.url);
    const headers = Buffer.from(`${fields.join('')}\x86\x01\x01x`, 'latin1'); // HPACK (RFC 7541): :scheme http, :authority x
    const opening = [
      Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
      http2Frame(4, 0, 0), // SETTINGS
      http2Frame(1, 4, 1, headers),
      http2Frame(3, 0, 1, Buffer.alloc(4)), // RST_STREAM with NO_ERROR
    ];
    const socket = connect(Number(port), hostname, () => socket.write(Buffer.concat(opening)));
    socket.on('error', () => undefined);
    await once(socket, 'data');
    expect(await newcomer()).toBeDefined();
    socket.destroy();
  });

  it('has nobody else looked at by pongs that nobody asked for', async () => {
    deployment = await TestDeployment.start();
    const inputs = vi.spyOn(Registry.prototype, 'handle');
    const signsOfLife = () => inputs.mock.calls.filter(([{ type }]) => type === 'alive').length;
    const socket = await open();
    for (let i = 0; i < 30; i++) socket.pong();
    const ended = outcome(socket);
    socket.send('rubbish');
    await ended;
    expect(signsOfLife()).toBe(0);
    const { identity } = await deployment.node();
    const [error] = (await once(deployment.signal({ identity }), 'error')) as [SallyportError];
    expect(error.code).toBe('ALREADY_REGISTERED');
    expect(signsOfLife()).toBe(1);
  });

  it.each(['ping', 'pong'] as const)('is cut off by more %ss than a node has any use for', async (frame) => {
    deployment = await TestDeployment.start();
    const socket = await open();
    const [code] = await Promise.all([
      once(socket, 'close').then(([closed]: number[]) => closed),
      (async () => {
        for (let i = 0; i < 1_000 && socket.readyState === WebSocket.OPEN; i++) {
          socket[frame]();
          await nextTurn();
        }
        if (socket.readyState === WebSocket.OPEN) socket.close();
      })(),
    ]);
    expect(code).toBe(1006); // without a close frame
    expect(await newcomer()).toBeDefined();
  });

  it('is not read for long once it was cut off and goes on', async () => {
    deployment = await TestDeployment.start();
    const { hostname, port } = new URL(deployment.server.url);
    const socket = connect(Number(port), hostname).on('error', () => undefined);
    const key = randomBytes(16).toString('base64');
    const upgrade = `GET /v1/signal HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: ${key}\r\n\r\n`;
    socket.write(upgrade);
    await once(socket, 'data');
    socket.resume();
    const ended = once(socket, 'close');
    const rubbish = Buffer.from([0x82, 0x81, 0, 0, 0, 0, 0]); // one masked byte (RFC 6455 §5.2)
    let sent = 0;
    for (; !socket.destroyed && sent < 1_000; sent++) {
      socket.write(rubbish);
      await sleep(1);
    }
    await ended;
    expect(sent).toBeLessThan(1_000);
  });

  it('refuses a page of some other origin', async () => {
    deployment = await TestDeployment.start();
    const url = deployment.server.url.replace('http', 'ws') + '/v1/signal';
    const socket = new WebSocket(url, { origin: 'https://evil.example' });
    const [error] = (await once(socket, 'error')) as [Error];
    expect(error.message).toContain('403');
  });
});

function encodeLong(length: number): Uint8Array {
  const [to, session, instance] = [bytes(32), bytes(16), bytes(16)];
  return encodeMessage({ t: 'trickle', session, to, instance, box: bytes(length) });
}

/** A frame as in RFC 9113 §4.1. */
function http2Frame(type: number, flags: number, stream: number, payload = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(9);
  header.writeUIntBE(payload.length, 0, 3);
  header[3] = type;
  header[4] = flags;
  header.writeUInt32BE(stream, 5);
  return Buffer.concat([header, payload]);
}
