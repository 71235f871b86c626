import { EventEmitter, once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { familyOf } from '../core/endpoint.ts';
import type { Endpoint } from '../core/endpoint.ts';
import { SallyportError } from '../core/errors.ts';
import { bindFailure } from './bind-failure.ts';

export interface DialOptions {
  remote: Endpoint;
  /** Default: the wildcard of the remote's family. */
  localAddress?: string | undefined;
  /** The port to dial from; may be one that another connection already uses towards another endpoint. Default: any. */
  localPort?: number | undefined;
  /** Default 10,000. Closing a silent attempt sends nothing: NATs keep its state for minutes. */
  timeoutMs?: number | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Dials once and resolves with a half-open-capable socket, also when the connection came about by simultaneous open.
 *
 * The local side is always bound explicitly: only such a socket carries SO_REUSEADDR, so only its port can be dialled from again or
 * listened on while it lives. A port that listens can't be dialled from: dial first, listen after.
 *
 * Fails with `TARGET_REFUSED` (a listener is missing, or a NAT answered by RST), `PORT_IN_USE` (the local port, or this very pair of
 * endpoints, is taken), `TIMEOUT`, `ABORTED` or `NO_PATH`; `errnoOf` tells the system's own code.
 */
export function dialTcp(options: DialOptions): Promise<Socket> {
  const { remote, signal, timeoutMs = DIAL_TIMEOUT_MS } = options;
  if (signal?.aborted) return Promise.reject(aborted(signal));
  return new Promise((resolve, reject) => {
    const socket = connect({
      ...SOCKET_OPTIONS,
      host: remote.address,
      port: remote.port,
      localAddress: options.localAddress ?? (familyOf(remote) === 4 ? '0.0.0.0' : '::'),
      localPort: options.localPort ?? 0,
    });
    const settle = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      socket.off('connect', onConnect).off('error', onError);
      socket.on('error', ignore);
    };
    const fail = (error: SallyportError): void => {
      settle();
      socket.destroy();
      reject(error);
    };
    const onAbort = (): void => fail(aborted(signal!));
    const onError = (cause: NodeJS.ErrnoException): void => fail(dialFailed(cause, remote));
    const onConnect = (): void => {
      if (isSelf(socket)) return fail(new SallyportError('NO_PATH', 'the connection reached its own socket'));
      settle();
      resolve(socket);
    };
    const timer = setTimeout(
      () => fail(new SallyportError('TIMEOUT', `no answer within ${timeoutMs} ms from ${remote.address}`)),
      timeoutMs,
    );
    signal?.addEventListener('abort', onAbort);
    socket.on('connect', onConnect).on('error', onError);
  });
}

/** The system's code (`ECONNREFUSED`, `EADDRNOTAVAIL`, ...) behind a failure. */
export function errnoOf(error: unknown): string | undefined {
  const { cause } = error as { cause?: { code?: unknown } };
  return typeof cause?.code === 'string' ? cause.code : undefined;
}

interface TcpListenerEvents {
  connection: [socket: Socket, from: Endpoint];
  close: [];
}

/** Accepts TCP connections on one port. Nobody has authenticated yet: read the path tag first. */
export class TcpListener extends EventEmitter<TcpListenerEvents> {
  readonly address: Endpoint;
  readonly #server: Server;

  constructor(server: Server) {
    super();
    this.#server = server;
    const { address, port } = server.address() as AddressInfo;
    this.address = { address, port };
    server.on('connection', (socket) => this.#onConnection(socket));
    server.on('error', ignore); // accept failed for want of descriptors: the next may not
    server.on('close', () => this.emit('close'));
  }

  /** Stops accepting; connections that were accepted live on. The port can be dialled from again once this resolves. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      if (!this.#server.listening) return resolve();
      // The server's own 'close' waits for its connections; its socket is gone in the next turn.
      this.#server.close();
      setImmediate(resolve);
    });
  }

  #onConnection(socket: Socket): void {
    socket.on('error', ignore);
    const { remoteAddress, remotePort } = socket;
    if (remoteAddress === undefined || remotePort === undefined) return void socket.destroy(); // gone before it was accepted
    this.emit('connection', socket, { address: remoteAddress, port: remotePort });
  }
}

export interface ListenOptions {
  host: string;
  /** 0 picks one. May be the local port of live connections that `dialTcp` made. */
  port: number;
  /** Connections beyond are dropped. Default 256. */
  maxConnections?: number | undefined;
}

/** Fails with `PORT_IN_USE`, `LIMIT` or `UNSUPPORTED`. */
export async function listenTcp({ host, port, maxConnections = 256 }: ListenOptions): Promise<TcpListener> {
  const server = createServer(SOCKET_OPTIONS);
  server.maxConnections = maxConnections;
  server.listen({ host, port, ipv6Only: host.includes(':') });
  try {
    await once(server, 'listening');
  } catch (cause) {
    throw bindFailure(`TCP port ${port} on ${host} can't be listened on`, cause);
  }
  return new TcpListener(server);
}

function dialFailed(cause: NodeJS.ErrnoException, { address, port }: Endpoint): SallyportError {
  const where = `${address} port ${port}`;
  switch (cause.code) {
    case 'ECONNREFUSED':
    case 'ECONNRESET':
      return new SallyportError('TARGET_REFUSED', `${where} refused the connection`, { cause });
    case 'EADDRINUSE':
    case 'EADDRNOTAVAIL':
      return new SallyportError('PORT_IN_USE', `the local port can't be used towards ${where}`, { cause });
    case 'ETIMEDOUT':
      return new SallyportError('TIMEOUT', `${where} did not answer`, { cause });
    case undefined:
    default:
      return new SallyportError('NO_PATH', `${where} can't be reached: ${cause.message}`, { cause });
  }
}

function aborted(signal: AbortSignal): SallyportError {
  return new SallyportError('ABORTED', 'the dial was aborted', { cause: signal.reason });
}

/** Simultaneous open with oneself: a dial to the own port and address connects. */
function isSelf(socket: Socket): boolean {
  return socket.localPort === socket.remotePort && socket.localAddress === socket.remoteAddress;
}

function ignore(): void {}

/** TLS copies allowHalfOpen when it attaches; the keepalive holds a NAT's mapping. */
const SOCKET_OPTIONS = { allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: 12_000 };
const DIAL_TIMEOUT_MS = 10_000;
