import { once } from 'node:events';
import http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import net from 'node:net';
import { Duplex } from 'node:stream';
import { createWebSocketStream, WebSocket, WebSocketServer } from 'ws';
import { UdpSocket } from '../../src/net/udx.ts';

/** Two ends of one pipe on loopback, and what undoes it. */
export interface PipePair {
  near: Duplex;
  far: Duplex;
  close(): Promise<void> | void;
}

export async function tcpPair(): Promise<PipePair & { near: net.Socket; far: net.Socket }> {
  const server = net.createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const near = net.connect({
    port: (server.address() as AddressInfo).port,
    host: '127.0.0.1',
    allowHalfOpen: true,
  });
  const [[far]] = (await Promise.all([once(server, 'connection'), once(near, 'connect')])) as [
    [net.Socket],
    unknown,
  ];
  return {
    near,
    far,
    close: () => {
      server.close();
    },
  };
}

/** Two Duplexes joined in memory, delivering in a later turn as a network would. */
export function memoryPair(): PipePair {
  const make = (peer: () => Duplex): Duplex => {
    const send = (chunk: Buffer, done: () => void): void => {
      setImmediate(() => {
        if (!peer().destroyed) peer().push(chunk);
        done();
      });
    };
    return new Duplex({
      allowHalfOpen: true,
      read() {},
      write: (chunk: Buffer, _encoding, done) => send(chunk, done),
      writev: (chunks, done) => send(Buffer.concat(chunks.map(({ chunk }) => chunk as Buffer)), done),
      final(done) {
        setImmediate(() => {
          if (!peer().destroyed) peer().push(null);
          done();
        });
      },
      destroy(error, done) {
        setImmediate(() => peer().destroy());
        done(error);
      },
    });
  };
  const near: Duplex = make(() => far);
  const far: Duplex = make(() => near);
  return { near, far, close: () => {} };
}

/** An extended CONNECT stream (RFC 8441). */
export async function http2Pair(): Promise<PipePair> {
  const server = http2.createServer({ settings: { enableConnectProtocol: true } });
  const arrived = new Promise<Duplex>((resolve) => {
    server.on('stream', (stream) => {
      stream.respond({ ':status': 200 });
      resolve(stream);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const session = http2.connect(`http://127.0.0.1:${port}`);
  await once(session, 'remoteSettings');
  const near = session.request({
    ':method': 'CONNECT',
    ':protocol': 'sallyport',
    ':scheme': 'http',
    ':path': '/',
    ':authority': 'x',
  });
  const far = await arrived;
  return {
    near,
    far,
    close: () => {
      session.destroy();
      server.close();
    },
  };
}

export async function webSocketPair(): Promise<PipePair> {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: false });
  await once(server, 'listening');
  const socket = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`, {
    perMessageDeflate: false,
  });
  const [[far]] = (await Promise.all([once(server, 'connection'), once(socket, 'open')])) as [
    [WebSocket],
    unknown,
  ];
  return {
    near: createWebSocketStream(socket),
    far: createWebSocketStream(far),
    close: () => {
      server.close();
    },
  };
}

/** @param repeatMs with it their first bytes go by messages */
export async function udxPair(
  repeatMs?: number,
): Promise<PipePair & { nearSocket: UdpSocket; farSocket: UdpSocket }> {
  const nearSocket = UdpSocket.open({ host: '127.0.0.1', port: 0 });
  const farSocket = UdpSocket.open({ host: '127.0.0.1', port: 0 });
  const ids = { near: nextStreamId++, far: nextStreamId++ };
  const [toFar, toNear] = [
    { remote: farSocket.address, repeatMs },
    { remote: nearSocket.address, repeatMs },
  ];
  const near = nearSocket.connect({ localId: ids.near, remoteId: ids.far, ...toFar });
  const far = farSocket.connect({ localId: ids.far, remoteId: ids.near, ...toNear });
  const close = async (): Promise<void> => {
    near.destroy();
    far.destroy();
    await Promise.all([nearSocket.close(), farSocket.close()]);
  };
  return { near, far, nearSocket, farSocket, close };
}

let nextStreamId = 1;
