import { once } from 'node:events';
import type { Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import type { Endpoint } from '../../src/core/endpoint.ts';
import { dialTcp, errnoOf, listenTcp } from '../../src/net/tcp.ts';
import type { DialOptions, TcpListener } from '../../src/net/tcp.ts';
import { silentEndpoint } from './silent-endpoint.ts';

const sockets: Socket[] = [];
const listeners: TcpListener[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await Promise.all(listeners.splice(0).map((listener) => listener.close()));
});

async function listen(port = 0, host = '127.0.0.1'): Promise<TcpListener> {
  const listener = await listenTcp({ host, port });
  listener.on('connection', (socket) => sockets.push(socket));
  listeners.push(listener);
  return listener;
}

async function dial(options: DialOptions): Promise<Socket> {
  const socket = await dialTcp(options);
  sockets.push(socket);
  return socket;
}

async function failure(promise: Promise<unknown>): Promise<{ code: string; errno: string | undefined }> {
  const error: unknown = await promise.then(
    () => expect.fail('it succeeded'),
    (reason: unknown) => reason,
  );
  return { code: (error as { code: string }).code, errno: errnoOf(error) };
}

async function freePort(): Promise<number> {
  const listener = await listenTcp({ host: '127.0.0.1', port: 0 });
  await listener.close();
  return listener.address.port;
}

const at = (port: number): Endpoint => ({ address: '127.0.0.1', port });

describe('dialling TCP', () => {
  it('connects, ready for half-close, and tells the acceptor where from', async () => {
    const listener = await listen();
    const accepted = once(listener, 'connection') as Promise<[Socket, Endpoint]>;
    const socket = await dial({ remote: listener.address });
    const [far, from] = await accepted;
    expect([socket.allowHalfOpen, far.allowHalfOpen]).toEqual([true, true]);
    expect(from).toEqual(at(socket.localPort!));
  });

  it('speaks IPv6', async () => {
    const listener = await listen(0, '::1');
    const socket = await dial({ remote: listener.address });
    expect(socket.remoteFamily).toBe('IPv6');
  });

  it('tells a refusal', async () => {
    expect(await failure(dialTcp({ remote: at(await freePort()) }))).toEqual({
      code: 'TARGET_REFUSED',
      errno: 'ECONNREFUSED',
    });
  });

  it('gives up after its time', async () => {
    const { close, remote } = await silentEndpoint();
    expect(await failure(dialTcp({ remote, timeoutMs: 60 }))).toEqual({ code: 'TIMEOUT', errno: undefined });
    await close();
  });

  it('stops when aborted, before and during', async () => {
    const { close, remote } = await silentEndpoint();
    const attempt = failure(dialTcp({ remote, signal: AbortSignal.timeout(30) }));
    expect((await attempt).code).toBe('ABORTED');
    expect((await failure(dialTcp({ remote, signal: AbortSignal.abort() }))).code).toBe('ABORTED');
    await close();
  });

  it('refuses to be connected with itself', async () => {
    const port = await freePort();
    expect(
      (await failure(dialTcp({ remote: at(port), localAddress: '127.0.0.1', localPort: port }))).code,
    ).toBe('NO_PATH');
  });
});

describe('one local port for several connections', () => {
  it('dials a second endpoint from the port of a live connection', async () => {
    const [first, second] = [await listen(), await listen()];
    const { localPort } = await dial({ remote: first.address });
    const again = await dial({ remote: second.address, localPort });
    expect(again.localPort).toBe(localPort);
  });

  it('says PORT_IN_USE for the same pair of endpoints while the first lives', async () => {
    const listener = await listen();
    const { localPort } = await dial({ remote: listener.address });
    expect(await failure(dialTcp({ remote: listener.address, localPort }))).toEqual({
      code: 'PORT_IN_USE',
      errno: 'EADDRNOTAVAIL',
    });
  });

  it('listens on the port of a live connection', async () => {
    const server = await listen();
    const { localPort } = await dial({ remote: server.address });
    const behind = await listen(localPort, '0.0.0.0');
    const arrived = once(behind, 'connection');
    await dial({ remote: at(localPort!) });
    await arrived;
    expect(behind.address.port).toBe(localPort);
  });

  it('cannot dial from a port that listens, and can again once the listener is closed', async () => {
    const server = await listen();
    const behind = await listen(0, '0.0.0.0');
    const from = { remote: server.address, localPort: behind.address.port };
    expect(await failure(dialTcp(from))).toEqual({ code: 'PORT_IN_USE', errno: 'EADDRINUSE' });
    await behind.close();
    expect((await dial(from)).localPort).toBe(behind.address.port);
  });
});

describe('listening', () => {
  it('says PORT_IN_USE for a taken port', async () => {
    const { port } = (await listen()).address;
    expect(await failure(listenTcp({ host: '127.0.0.1', port }))).toEqual({
      code: 'PORT_IN_USE',
      errno: 'EADDRINUSE',
    });
  });

  it('drops connections beyond its limit', async () => {
    const listener = await listenTcp({ host: '127.0.0.1', port: 0, maxConnections: 1 });
    listeners.push(listener);
    listener.on('connection', (socket) => sockets.push(socket));
    await dial({ remote: listener.address });
    const second = await dial({ remote: listener.address });
    second.resume();
    await once(second, 'end');
    expect(sockets.length).toBe(3);
  });
});
