import { createServer as createTcpServer, type AddressInfo, type Server, type Socket } from 'node:net';
import type { ServerHttp2Stream } from 'node:http2';
import type { Duplex } from 'node:stream';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import type { WebSocket } from 'ws';
import { sourceOf } from '../core/address.ts';
import { formatEndpoint, type Endpoint } from '../core/endpoint.ts';
import { SallyportError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import { RateLimiter } from '../core/token-bucket.ts';
import { deferred } from './deferred.ts';
import { Http1Front } from './front-http1.ts';
import { Http2Front } from './front-http2.ts';
import { StandingLegs, type StandingKnock } from './front-standing.ts';
import { remoteOf, type Knock } from './knock.ts';
import { listenFailure } from './listen-failure.ts';

/** What a plain GET sees. */
export interface Page {
  readonly status: number;
  readonly text: string;
}

export interface FrontOptions {
  readonly host: string;
  /** 0 for one that is free. */
  readonly port: number;
  /** PEM; without it the port speaks cleartext. */
  readonly tls?: { readonly cert: string | Buffer; readonly key: string | Buffer } | undefined;
  /** The one line that `GET /` answers. */
  readonly about: string;
  /** @default LIMITS.connections */
  readonly connections?: number | undefined;
  /** @default LIMITS.connectionsPerAddress */
  readonly connectionsPerAddress?: number | undefined;
}

const ARRIVALS = { perSecond: LIMITS.arrivalsPerSecond, burst: LIMITS.arrivalsBurst };

/**
 * One port for everything over HTTP: pages, HTTP/1.1 upgrades, HTTP/2 extended CONNECT. With TLS the versions are
 * told apart by ALPN, on cleartext by the first bytes: the HTTP/2 preface starts with `PRI`, which is no method.
 *
 * Whatever a stranger can hold here is bounded: connections in all and per address, new ones of an address by time,
 * how long one may take to show what it wants (`LIMITS.handshakeStepMs`, for the TLS handshake and again for the first
 * request), header size, frames, streams. A standing leg that was opened is no stranger's any more: its ticket's owner
 * is counted for it.
 */
export class Front {
  readonly #server: Server;
  readonly #http1: Http1Front;
  readonly #http2: Http2Front;
  readonly #sockets = new Set<Socket>();
  readonly #perSource = new Map<string, number>();
  readonly #arrivals = new RateLimiter(ARRIVALS);
  /** The connections that are counted in `#perSource`, by their two ends: TLS has a socket of its own for each. */
  readonly #counted = new Map<string, Socket>();
  readonly #hurry = new Map<Duplex, NodeJS.Timeout>();
  readonly #options: FrontOptions;
  /** The server says so once, and before its last sockets do. */
  readonly #closed = deferred<void>();

  private constructor(options: FrontOptions) {
    this.#options = options;
    const page = (path: string) => this.#page(path);
    const settled = (socket: Duplex) => this.#settle(socket);
    this.#http1 = new Http1Front(page, settled);
    this.#http2 = new Http2Front(page, settled);
    this.#server = options.tls ? this.#tlsServer(options.tls) : this.#cleartextServer();
    this.#server.once('close', () => this.#closed.resolve());
    this.#server.maxConnections = options.connections ?? LIMITS.connections;
  }

  /** @throws SallyportError `PORT_IN_USE`, `USAGE` */
  static async listen(options: FrontOptions): Promise<Front> {
    if (options.host.includes('%')) {
      const where = formatEndpoint({ address: options.host, port: options.port });
      throw new SallyportError('USAGE', `can't listen on ${where}: no URL can name an address of one link`, {
        hint: 'give another address of this host; 0.0.0.0 stands for all of them',
      });
    }
    const front = new Front(options);
    await new Promise<void>((resolve, reject) => {
      front.#server.once('error', (error) => reject(listenError(error, options)));
      front.#server.listen({ host: options.host, port: options.port }, resolve);
    });
    front.#server.on('error', () => undefined); // accept failed for want of descriptors: the next may not
    return front;
  }

  get endpoint(): Endpoint {
    const { address, port } = this.#server.address() as AddressInfo;
    return { address, port };
  }

  get secure(): boolean {
    return this.#options.tls !== undefined;
  }

  /** @internal For `ws` ships no types. @param maxPayload bytes of one message */
  webSocket(path: string, maxPayload: number, handler: (knock: Knock<WebSocket>) => void): void {
    this.#http1.webSocket(path, maxPayload, handler);
  }

  connect(path: string, protocol: string, handler: (knock: Knock<ServerHttp2Stream>) => void): void {
    this.#http2.connect(path, protocol, handler);
  }

  /** HTTP/1.1 connections upgraded at `path` that are to carry a circuit each. */
  standing(path: string, handler: (knock: StandingKnock) => void): void {
    const admitted = (socket: Socket) => this.#discount(endsOf(socket));
    this.#http1.standing(path, new StandingLegs(handler, admitted));
  }

  /** Takes no new connections and no new HTTP/2 streams; what runs goes on until `close`. */
  drain(): void {
    if (this.#server.listening) this.#server.close();
    this.#http1.drain();
    this.#http2.drain();
  }

  async close(): Promise<void> {
    const isOpen = this.#sockets.size > 0 || this.#server.listening;
    this.drain();
    for (const socket of this.#sockets) socket.destroy();
    if (isOpen) await this.#closed.promise;
  }

  /** Whoever is not admitted costs no TLS socket. */
  #tlsServer(options: NonNullable<FrontOptions['tls']>): Server {
    const tls = createTlsServer({
      ...options,
      ALPNProtocols: ['h2', 'http/1.1'],
      handshakeTimeout: LIMITS.handshakeStepMs,
      minVersion: 'TLSv1.2',
    });
    tls.on('tlsClientError', (_error, socket) => socket.destroy());
    tls.on('secureConnection', (socket) => this.#dispatch(socket, socket.alpnProtocol === 'h2'));
    return createTcpServer((socket) => {
      if (this.#admit(socket)) tls.emit('connection', socket);
    });
  }

  #cleartextServer(): Server {
    // HTTP servers end a connection themselves; half-open would keep those of clients that went away.
    return createTcpServer({ noDelay: true }, (socket) => {
      if (this.#admit(socket)) this.#sniff(socket);
    });
  }

  /** Counts the connection, or ends it when its address has too many, or makes them too fast. */
  #admit(socket: Socket): boolean {
    socket.on('error', () => socket.destroy());
    const ends = endsOf(socket);
    this.#discount(ends); // one that was between the same ends is over, though its end may not have been noticed yet
    const { source } = ends;
    const count = (this.#perSource.get(source) ?? 0) + 1;
    const isFull = count > (this.#options.connectionsPerAddress ?? LIMITS.connectionsPerAddress);
    if (isFull || !this.#arrivals.take(source, performance.now())) {
      socket.destroy();
      return false;
    }
    this.#perSource.set(source, count);
    this.#counted.set(ends.key, socket);
    this.#sockets.add(socket);
    socket.once('close', () => {
      this.#sockets.delete(socket);
      if (this.#counted.get(ends.key) === socket) this.#discount(ends);
    });
    return true;
  }

  #discount({ key, source }: Ends): void {
    if (!this.#counted.delete(key)) return;
    const left = (this.#perSource.get(source) ?? 1) - 1;
    if (left > 0) this.#perSource.set(source, left);
    else this.#perSource.delete(source);
  }

  #sniff(socket: Socket): void {
    this.#hurryUp(socket);
    const onReadable = () => {
      const head = socket.read(3) as Buffer | null;
      if (head === null) return;
      socket.off('readable', onReadable);
      socket.unshift(head);
      this.#take(socket, head.toString('latin1') === 'PRI');
    };
    socket.on('readable', onReadable);
  }

  #dispatch(socket: TLSSocket, http2: boolean): void {
    socket.on('error', () => socket.destroy());
    socket.setNoDelay(true);
    this.#hurryUp(socket);
    this.#take(socket, http2);
  }

  #take(socket: Socket, http2: boolean): void {
    if (http2) this.#http2.take(socket);
    else this.#http1.take(socket);
  }

  /** A connection that doesn't show in time what it wants is ended. */
  #hurryUp(socket: Socket): void {
    const timer = setTimeout(() => socket.destroy(), LIMITS.handshakeStepMs);
    this.#hurry.set(socket, timer);
    socket.once('close', () => this.#settle(socket));
  }

  #settle(socket: Duplex): void {
    clearTimeout(this.#hurry.get(socket));
    this.#hurry.delete(socket);
  }

  #page(path: string): Page {
    if (path === '/') return { status: 200, text: `${this.#options.about}\n` };
    if (path === '/healthz') return { status: 200, text: 'ok\n' };
    return { status: 404, text: 'not found\n' };
  }
}

/** Where a connection comes from, and what no other has while it lasts. */
interface Ends {
  readonly source: string;
  readonly key: string;
}

/** A port of a client's may have a connection to each of our addresses. */
function endsOf(socket: Socket): Ends {
  const remote = remoteOf(socket);
  return { source: sourceOf(remote.address), key: `${formatEndpoint(remote)} ${socket.localAddress}` };
}

function listenError(error: NodeJS.ErrnoException, { host, port }: FrontOptions): SallyportError {
  const where = formatEndpoint({ address: host, port });
  if (error.code === 'EADDRINUSE') {
    return new SallyportError('PORT_IN_USE', `${where} is taken by another process`, {
      hint: 'choose another port with --listen host:port',
      cause: error,
    });
  }
  return listenFailure(where, error, {
    EACCES: 'ports below 1024 need privileges; try --listen 0.0.0.0:8443',
  });
}
