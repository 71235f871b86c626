import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { hex } from '../../src/core/bytes.ts';
import type { Endpoint } from '../../src/core/endpoint.ts';
import { identityFromSeed } from '../../src/core/identity.ts';
import { LIMITS } from '../../src/core/limits.ts';
import { deliveryId, deliveryTag } from '../../src/core/stun/delivery.ts';
import { decodeStun, encodeStun } from '../../src/core/stun/message.ts';
import { bindingRequest, readResponse } from '../../src/core/stun/request.ts';
import { StunServer } from '../../src/net/stun-server.ts';
import { dialTcp, listenTcp } from '../../src/net/tcp.ts';

const deployment = identityFromSeed(new Uint8Array(32).fill(1));
const peer = identityFromSeed(new Uint8Array(32).fill(2));
const credentials = { username: 'registration', key: new Uint8Array(32).fill(3) };
const closers: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

async function start(...addresses: [string, string?]): Promise<StunServer> {
  const server = await StunServer.start({
    addresses,
    ports: [0, 0],
    deployment,
    lookup: (username) =>
      username === credentials.username ? { peer: peer.id, key: credentials.key } : undefined,
    now: Date.now,
  });
  closers.push(() => server.close());
  return server;
}

async function client(): Promise<Socket> {
  const socket = createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  closers.push(() => socket.close());
  return socket;
}

async function ask(
  socket: Socket,
  bytes: Uint8Array,
  to: Endpoint,
): Promise<{ bytes: Buffer; from: Endpoint }> {
  const reply = once(socket, 'message');
  socket.send(bytes, to.port, to.address);
  const [message, { address, port }] = await reply;
  return { bytes: message, from: { address, port } };
}

const id = () => Uint8Array.from({ length: 12 }, () => Math.floor(Math.random() * 256));

describe('StunServer', () => {
  it('answers on both ports of both addresses, and from the other ones on request', async () => {
    const { udp } = await start('127.0.0.1', '127.0.0.2');
    const socket = await client();
    expect(udp.map(({ address }) => address)).toEqual(['127.0.0.1', '127.0.0.1', '127.0.0.2', '127.0.0.2']);
    for (const to of udp) {
      const plain = await ask(socket, bindingRequest(id(), credentials), to);
      expect(plain.from).toEqual(to);
      const mapped = { address: '127.0.0.1', port: socket.address().port };
      expect(readResponse(plain.bytes, credentials)).toMatchObject({ mapped, origin: to });
    }
    const change = { address: true, port: true };
    const changed = await ask(socket, bindingRequest(id(), credentials, { change }), udp[0]!);
    expect(changed.from).toEqual(udp[3]);
  });

  it('takes the same ports for TCP, and answers several requests on one connection', async () => {
    const { tcp } = await start('127.0.0.1');
    for (const { address, port } of tcp) {
      const socket = connect({ host: address, port });
      closers.push(() => socket.destroy());
      for (let i = 0; i < 3; i++) {
        socket.write(bindingRequest(id(), credentials));
        const [bytes] = await once(socket, 'data');
        expect(readResponse(bytes, credentials)?.mapped?.port).toBe(socket.localPort);
      }
    }
  });

  it('dials back from its other address and from another port of this one, and closes at once', async () => {
    const { tcp } = await start('127.0.0.1', '127.0.0.2');
    const socket = await dialTcp({ remote: tcp[0]!, localAddress: '127.0.0.1' });
    closers.push(() => socket.destroy());
    const localPort = socket.localPort!;
    const dialBack = async (address: boolean) => {
      socket.write(bindingRequest(id(), credentials, { change: { address, port: true } }));
      const [bytes] = await once(socket, 'data');
      return readResponse(bytes, credentials)?.dialOutcome;
    };
    expect(await dialBack(true)).toBe('refused');
    const listener = await listenTcp({ host: '127.0.0.1', port: localPort });
    closers.push(() => listener.close());
    const callers: string[] = [];
    const closed: Promise<unknown>[] = [];
    listener.on('connection', (caller, from) => {
      callers.push(from.address);
      closed.push(new Promise((resolve) => caller.on('close', resolve)));
    });
    expect(await dialBack(true)).toBe('connected');
    expect(await dialBack(false)).toBe('connected');
    expect(callers).toEqual(['127.0.0.2', '127.0.0.1']);
    await Promise.all(closed);
  });

  it.each([
    ['127.0.0.1', undefined, true],
    ['0.0.0.0', '203.0.113.9', false],
  ] as const)('bound to %s, called %s: is a port on loopback dialled? %s', async (host, called, dials) => {
    const server = await StunServer.start({
      addresses: [host],
      ports: [0, 0],
      publicAddress: called,
      deployment,
      lookup: () => ({ peer: peer.id, key: credentials.key }),
      now: Date.now,
    });
    closers.push(() => server.close());
    const listener = await listenTcp({ host: '127.0.0.1', port: 0 });
    closers.push(() => listener.close());
    const heard: Buffer[] = [];
    const ended = new Promise<void>((resolve) => {
      listener.on('connection', (caller) => {
        caller.on('data', (chunk: Buffer) => heard.push(chunk));
        caller.on('end', resolve);
      });
    });
    const socket = connect({ host: '127.0.0.1', port: server.tcp[0]!.port });
    closers.push(() => socket.destroy());
    const asked = Buffer.from('FLUSHALL\r\n\r\n');
    const request = bindingRequest(asked, credentials, { responsePort: listener.address.port });
    socket.write(request);
    // Answered after the one before it: by then the dial has been made or refused.
    socket.write(bindingRequest(id(), credentials));
    await once(socket, 'data');
    if (dials) await ended;
    else await sleep(200);
    const bytes = Buffer.concat(heard);
    expect(bytes.includes(asked)).toBe(false);
    // Tag 16, then the STUN header with the transaction id from its byte 8.
    const wanted = dials ? [deliveryTag(request), deliveryId(asked)] : [Buffer.alloc(0), Buffer.alloc(0)];
    expect([bytes.subarray(0, 16), bytes.subarray(24, 36)].map(hex)).toEqual(wanted.map(hex));
  });

  it('names itself by its public addresses', async () => {
    const server = await StunServer.start({
      addresses: ['0.0.0.0'],
      ports: [0, 0],
      publicAddress: '203.0.113.9',
      deployment,
      lookup: () => undefined,
      now: Date.now,
    });
    closers.push(() => server.close());
    expect(server.udp.every(({ address }) => address === '203.0.113.9')).toBe(true);
    const socket = await client();
    const plain = encodeStun({ class: 'request', transactionId: id() });
    const { bytes } = await ask(socket, plain, { address: '127.0.0.1', port: server.udp[0]!.port });
    expect(decodeStun(bytes).origin).toEqual(server.udp[0]);
  });

  it('says that a port is in use, and leaves nothing bound', async () => {
    const { udp } = await start('127.0.0.1');
    const free = await start('127.0.0.1');
    const freePort = free.udp[0]!.port;
    await free.close();
    const again = StunServer.start({
      addresses: ['127.0.0.1'],
      ports: [freePort, udp[0]!.port],
      deployment,
      lookup: () => undefined,
      now: Date.now,
    });
    await expect(again).rejects.toMatchObject({ code: 'PORT_IN_USE' });
    const socket = createSocket('udp4').bind(freePort, '127.0.0.1');
    await once(socket, 'listening');
    socket.close();
  });

  it('holds so many TCP connections of one address at most', async () => {
    const { tcp } = await start('127.0.0.1');
    const sockets = Array.from({ length: LIMITS.connectionsPerAddress + 6 }, () =>
      connect(tcp[0]!.port, '127.0.0.1')
        .on('error', () => {})
        .resume(),
    );
    closers.push(() => sockets.forEach((socket) => socket.destroy()));
    await expect.poll(() => sockets.filter(({ destroyed }) => destroyed).length, { timeout: 5_000 }).toBe(6);
  });

  it('outlives garbage on every port and never answers with more bytes than came', async () => {
    const { udp, tcp } = await start('127.0.0.1', '127.0.0.2');
    const socket = await client();
    let [sent, received] = [0, 0];
    socket.on('message', (bytes) => (received += bytes.length));
    for (const { address, port } of udp) {
      for (let i = 0; i < 500; i++) {
        const bytes = garbage(i);
        sent += bytes.length;
        socket.send(bytes, port, address);
        if (i % 50 === 0) await sleep(1);
      }
    }
    for (const { address, port } of tcp) {
      const connection = connect({ host: address, port }).on('error', () => {});
      connection.write(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
      await once(connection, 'close');
    }
    await sleep(50);
    expect(received).toBeLessThanOrEqual(sent);
    const probe = await client();
    const alive = await ask(probe, bindingRequest(id(), credentials), udp[0]!);
    expect(readResponse(alive.bytes, credentials)?.class).toBe('success');
  });
});

/** Random bytes, requests cut short, requests with a flipped byte, responses. */
function garbage(i: number): Uint8Array {
  const random = Uint8Array.from({ length: i % 120 }, () => Math.floor(Math.random() * 256));
  const request = bindingRequest(id(), credentials);
  switch (i % 4) {
    case 0:
      return random;
    case 1:
      return request.subarray(0, i % request.length);
    case 2:
      request[(i * 7) % request.length]! ^= 1 + (i % 255);
      return request;
    default:
      return encodeStun({ class: 'success', transactionId: id(), mapped: { address: '127.0.0.1', port: 9 } });
  }
}
