import { createHash, randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import type { Socket as DatagramSocket } from 'node:dgram';
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { afterEach, describe, expect, it } from 'vitest';
import type { Endpoint } from '../../src/core/endpoint.ts';
import { UdpSocket } from '../../src/net/udx.ts';
import type { UdxPipe } from '../../src/net/udx.ts';
import { udxPair } from './pipes.ts';

const sockets: UdpSocket[] = [];
const pipes: Duplex[] = [];
afterEach(async () => {
  for (const pipe of pipes.splice(0)) pipe.destroy();
  await Promise.all(sockets.splice(0).map((socket) => socket.close()));
});

function open(host = '127.0.0.1', port = 0): UdpSocket {
  const socket = UdpSocket.open({ host, port });
  sockets.push(socket);
  return socket;
}

async function pair(repeatMs?: number): Promise<Awaited<ReturnType<typeof udxPair>>> {
  const made = await udxPair(repeatMs);
  sockets.push(made.nearSocket, made.farSocket);
  pipes.push(made.near, made.far);
  return made;
}

function next(socket: UdpSocket): Promise<[Buffer, Endpoint]> {
  return once(socket, 'datagram') as Promise<[Buffer, Endpoint]>;
}

async function digest(stream: Duplex): Promise<{ bytes: number; hash: string; chunks: number }> {
  const hash = createHash('sha256');
  let [bytes, chunks] = [0, 0];
  stream.on('data', (chunk: Buffer) => {
    hash.update(chunk);
    bytes += chunk.length;
    chunks += 1;
  });
  await once(stream, 'end');
  return { bytes, hash: hash.digest('hex'), chunks };
}

describe('a UDP socket', () => {
  it('exchanges raw datagrams and tells where they came from', async () => {
    const [a, b] = [open(), open()];
    const arrived = next(b);
    a.send(Buffer.from('probe'), b.address, 2);
    const [bytes, from] = await arrived;
    expect(String(bytes)).toBe('probe');
    expect(from).toEqual(a.address);
  });

  it('speaks IPv6', async () => {
    const [a, b] = [open('::1'), open('::1')];
    const arrived = next(b);
    a.send(Buffer.from('probe'), b.address);
    expect((await arrived)[1]).toEqual(a.address);
  });

  it('says PORT_IN_USE for a taken port, with the errno code', () => {
    const { port } = open().address;
    expect(() => open('127.0.0.1', port)).toThrow(
      expect.objectContaining({
        code: 'PORT_IN_USE',
        cause: expect.objectContaining({ code: 'EADDRINUSE' }) as Error,
      }),
    );
  });

  it('survives sending to the other family, to nowhere and after its close', async () => {
    const socket = open();
    socket.send(Buffer.from('x'), { address: '::1', port: 9 });
    socket.send(Buffer.from('x'), { address: '127.0.0.1', port: 1 });
    socket.send(Buffer.from('x'), { address: '255.255.255.255', port: 9 });
    await socket.close();
    expect(() => socket.send(Buffer.from('x'), { address: '127.0.0.1', port: 9 })).not.toThrow();
  });

  it('refuses a datagram that looks like a udx packet', () => {
    const socket = open();
    expect(() => socket.send(Buffer.from([0xff, 1]), socket.address)).toThrow(/udx/);
  });

  it('passes datagrams beside a busy stream', async () => {
    const { near, far, nearSocket, farSocket } = await pair();
    const done = digest(far);
    near.end(randomBytes(8 * MIB));
    let heard = 0;
    farSocket.on('datagram', () => (heard += 1));
    for (let count = 0; count < 20; count++) {
      nearSocket.send(Buffer.from('ping'), farSocket.address);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    expect((await done).bytes).toBe(8 * MIB);
    expect(heard).toBeGreaterThan(0);
  });

  it('carries several streams at once, told apart by id', async () => {
    const [a, b] = [open(), open()];
    const results = [100, 200, 300].map(async (id) => {
      const near = a.connect({ localId: id, remoteId: id + 1, remote: b.address });
      const far = b.connect({ localId: id + 1, remoteId: id, remote: a.address });
      pipes.push(near, far);
      const done = digest(far);
      near.end(Buffer.alloc(id * 1000, id));
      return (await done).bytes;
    });
    expect(await Promise.all(results)).toEqual([100_000, 200_000, 300_000]);
  });
});

describe('a udx pipe', () => {
  it('hands over few large chunks', async () => {
    const { near, far } = await pair();
    const done = digest(far);
    const bytes = randomBytes(16 * MIB);
    near.end(bytes);
    const got = await done;
    expect(got.hash).toBe(createHash('sha256').update(bytes).digest('hex'));
    expect(got.bytes / got.chunks).toBeGreaterThan(3_000); // a packet carries 1,452 at most
  });

  it('keeps what comes while its reader has paused, in order', async () => {
    const { near, far } = await pair();
    const got: string[] = [];
    far.on('data', (chunk: Buffer) => got.push(chunk.toString()));
    near.write('a');
    await expect.poll(() => got).toEqual(['a']);
    far.pause();
    near.write('b');
    await expect.poll(() => far.readableLength).toBe(1);
    near.write('c');
    await expect.poll(() => far.readableLength).toBe(2);
    expect(got).toEqual(['a']);
    far.resume();
    near.write('d');
    await expect.poll(() => got.join('')).toBe('abcd');
  });

  it('delivers everything written before end() although the writer destroys it right after', async () => {
    const { near, far } = await pair();
    const done = digest(far);
    near.write(randomBytes(3 * MIB));
    near.end(() => near.destroy());
    expect((await done).bytes).toBe(3 * MIB);
  });

  it('closes at both ends, and frees its id, once both directions have ended', async () => {
    const { near, far, nearSocket, farSocket } = await pair();
    const closed = Promise.all([once(near, 'close'), once(far, 'close')]);
    near.end('question');
    far.end('answer');
    near.resume();
    far.resume();
    await closed;
    expect([near.errored, far.errored]).toEqual([null, null]);
    await Promise.all([nearSocket.close(), farSocket.close()]);
  });

  it('closes within seconds of its end although the other end has vanished', async () => {
    const { near, far, farSocket } = await pair();
    const silent = await boundDatagram();
    near.write('x');
    await once(far, 'data');
    far.end();
    near.resume();
    await once(near, 'end');
    await (near as UdxPipe).changeRemote(endpointOf(silent));
    near.end('never acknowledged');
    await once(near, 'close');
    silent.close();
    far.destroy();
    await farSocket.close();
    expect(near.errored).toBe(null);
  }, 8_000);

  it('resets the other end when it is destroyed without an end', async () => {
    const { near, far } = await pair();
    near.write('x');
    await once(far, 'data');
    const failed = once(far, 'error') as Promise<[Error]>;
    near.destroy();
    expect((await failed)[0]).toMatchObject({ code: 'PEER_LOST', cause: { code: 'ECONNRESET' } });
  });

  it('shows what a judge of liveness needs', async () => {
    const { near, far } = await pair();
    far.resume();
    near.write(randomBytes(MIB));
    await new Promise((resolve) => setTimeout(resolve, 300));
    const stats = (near as UdxPipe).stats;
    expect(stats).toMatchObject({ inflight: 0, rtoCount: 0 });
    expect(stats.packetsReceived).toBeGreaterThan(0);
    expect(stats.mtu).toBeGreaterThanOrEqual(1_200);
  });

  it('goes on towards a peer whose NAT has rebound it while nothing was in flight', async () => {
    const [a, b] = [open(), open()];
    const nat = await rebindingNat(b.address, a.address);
    const near = a.connect({ localId: 900, remoteId: 901, remote: nat.outside() });
    const far = b.connect({ localId: 901, remoteId: 900, remote: nat.inside });
    pipes.push(near, far);
    const done = digest(far);
    const bytes = randomBytes(4 * MIB);
    near.write(bytes.subarray(0, MIB));
    while (near.stats.bytesSent < MIB || near.stats.inflight > 0) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await nat.rebind();
    await near.changeRemote(nat.outside());
    near.end(bytes.subarray(MIB));
    expect(near.remote).toEqual(nat.outside());
    expect((await done).hash).toBe(createHash('sha256').update(bytes).digest('hex'));
    far.end();
    near.resume();
    await Promise.all([once(near, 'close'), once(far, 'close')]);
    await nat.close();
  });
});

describe('a udx pipe that moves between IPv4 and IPv6', () => {
  it.each([
    ['::1', '127.0.0.1'],
    ['127.0.0.1', '::1'],
  ])('goes on from %s to %s, by messages and by its stream', async (left, taken) => {
    const [nearLeft, nearTaken, farLeft, farTaken] = [open(left), open(taken), open(left), open(taken)];
    const near = nearLeft.connect({ localId: 910, remoteId: 911, remote: farLeft.address, repeatMs: 50 });
    const far = farLeft.connect({ localId: 911, remoteId: 910, remote: nearLeft.address, repeatMs: 50 });
    pipes.push(near, far);
    await Promise.all([nearTaken.adopt(near, farTaken.address), farTaken.adopt(far, nearTaken.address)]);
    const [question, answer] = [randomBytes(MIB), randomBytes(MIB)];
    const done = [digest(far), digest(near)];
    near.end(question);
    far.end(answer);
    const hashes = (await Promise.all(done)).map(({ hash }) => hash);
    expect(hashes).toEqual(
      [question, answer].map((bytes) => createHash('sha256').update(bytes).digest('hex')),
    );
    expect(near.remote).toEqual(farTaken.address);
  });
});

describe('a udx pipe whose first bytes go by messages', () => {
  const REPEAT_MS = 50;

  it('carries what is few and what is much, both ways', async () => {
    const { near, far } = await pair(REPEAT_MS);
    const [question, answer] = [randomBytes(8 * MIB), randomBytes(700)];
    const done = [digest(far), digest(near)];
    near.write(question.subarray(0, 1_000));
    near.write(question.subarray(1_000, 5_000));
    near.end(question.subarray(5_000));
    far.end(answer);
    const hashes = (await Promise.all(done)).map(({ hash }) => hash);
    expect(hashes).toEqual(
      [question, answer].map((bytes) => createHash('sha256').update(bytes).digest('hex')),
    );
  });

  it('tells them from messages of its user', async () => {
    const { near, far } = await pair(REPEAT_MS);
    const message = once(far, 'message') as Promise<[Buffer]>;
    near.write('stream');
    await once(far, 'data');
    (near as UdxPipe).sendMessage(Buffer.from([0, 1, 2]));
    expect([...(await message)[0]]).toEqual([0, 1, 2]);
  });

  it('keeps no more than a mebibyte of what comes before them', async () => {
    const [nearSocket, farSocket] = [open(), open()];
    const near = nearSocket.connect({
      localId: 912,
      remoteId: 913,
      remote: farSocket.address,
      repeatMs: REPEAT_MS,
    });
    const far = farSocket.connect({ localId: 913, remoteId: 912, remote: nearSocket.address }); // sends none
    pipes.push(near, far);
    far.on('error', () => {});
    far.write(randomBytes(2 * MIB));
    const [error] = (await once(near, 'error')) as [Error];
    expect(error).toMatchObject({ code: 'LIMIT' });
  });

  it('delivers them although the other end connects later and the writer destroys it right after its end', async () => {
    const [a, b] = [open(), open()];
    const near = a.connect({ localId: 910, remoteId: 911, remote: b.address, repeatMs: REPEAT_MS });
    pipes.push(near);
    near.end(Buffer.alloc(100, 7), () => near.destroy());
    await new Promise((resolve) => setTimeout(resolve, 2 * REPEAT_MS));
    const far = b.connect({ localId: 911, remoteId: 910, remote: a.address, repeatMs: REPEAT_MS });
    pipes.push(far);
    expect((await digest(far)).bytes).toBe(100);
  });

  it('closes within seconds of its end although nobody is there', async () => {
    const silent = await boundDatagram();
    const near = open().connect({
      localId: 912,
      remoteId: 913,
      remote: endpointOf(silent),
      repeatMs: REPEAT_MS,
    });
    near.end('never acknowledged');
    near.destroy();
    await once(near, 'close');
    expect(near.errored).toBe(null);
    silent.close();
  }, 8_000);
});

/** Translates between `host` behind it and `peer`; `rebind` drops the mapping and makes another, as a rebooted NAT does. */
async function rebindingNat(host: Endpoint, peer: Endpoint): Promise<RebindingNat> {
  const inner = await boundDatagram();
  let outer = await mapping();
  inner.on('message', (packet) => outer.send(packet, peer.port, peer.address));

  async function mapping(): Promise<DatagramSocket> {
    const socket = await boundDatagram();
    socket.on('message', (packet) => inner.send(packet, host.port, host.address));
    return socket;
  }
  return {
    inside: endpointOf(inner),
    outside: () => endpointOf(outer),
    rebind: async () => {
      const old = outer;
      outer = await mapping();
      old.close();
    },
    close: async () => {
      inner.close();
      outer.close();
      await Promise.all([once(inner, 'close'), once(outer, 'close')]);
    },
  };
}

interface RebindingNat {
  inside: Endpoint;
  outside: () => Endpoint;
  rebind: () => Promise<void>;
  close: () => Promise<void>;
}

async function boundDatagram(): Promise<DatagramSocket> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return socket;
}

function endpointOf(socket: DatagramSocket): Endpoint {
  const { address, port } = socket.address();
  return { address, port };
}

const MIB = 1024 * 1024;
