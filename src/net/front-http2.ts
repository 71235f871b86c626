import {
  constants,
  createServer,
  type Http2Server,
  type Http2Session,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { sourceOf } from '../core/address.ts';
import type { Endpoint } from '../core/endpoint.ts';
import { LIMITS } from '../core/limits.ts';
import { RateLimiter, TokenBucket } from '../core/token-bucket.ts';
import type { Page } from './front.ts';
import { ERROR_HEADER, exporterOf, remoteOf, statusOf, type Knock } from './knock.ts';

/** Node sets none of these by default (CVE-2023-44487 and its kin). */
const SESSION_OPTIONS = {
  maxSessionMemory: 64, // megabytes: what all circuits of one peer may have on their way out
  maxSessionInvalidFrames: 10,
  maxSessionRejectedStreams: 10,
  maxSettings: 8,
  maxHeaderListPairs: 32,
  maxOutstandingPings: 4,
  unknownProtocolTimeout: 5_000,
  settings: {
    enableConnectProtocol: true,
    maxConcurrentStreams: 128,
    maxHeaderListSize: 8 * 1024,
    initialWindowSize: 65_535,
  },
};
/** A warm connection shows itself by a ping at least this often. */
const IDLE_MS = 60_000;
/** Requests that become no circuit, and circuits that are reset: as many as one peer may open. */
const FRUITLESS = { perSecond: 20, burst: LIMITS.legsPerPeer };
/** Of all connections of one address: as many as eight such peers. */
const FRUITLESS_OF_ADDRESS = { perSecond: 8 * FRUITLESS.perSecond, burst: 8 * FRUITLESS.burst };
const CONTROL_FRAMES = { perSecond: 10, burst: 50 };
/** Pages that a client may leave untaken, as by a window of zero: each keeps its stream. */
const UNTAKEN_PAGES = 8;

interface Arrival {
  readonly remote: Endpoint;
  readonly exporter: Uint8Array;
  readonly fruitless: TokenBucket;
  readonly source: string;
  untakenPages: number;
}

interface ConnectRoute {
  readonly protocol: string;
  readonly handler: (knock: Knock<ServerHttp2Stream>) => void;
}

/** The HTTP/2 side of the front: pages, and extended CONNECT (RFC 8441) streams by path and `:protocol`. */
export class Http2Front {
  readonly #server: Http2Server;
  readonly #routes = new Map<string, ConnectRoute>();
  readonly #sessions = new Map<Http2Session, Arrival>();
  readonly #fruitlessOfAddress = new RateLimiter(FRUITLESS_OF_ADDRESS);
  readonly #page: (path: string) => Page;
  readonly #settled: (socket: Duplex) => void;

  constructor(page: (path: string) => Page, settled: (socket: Duplex) => void) {
    this.#page = page;
    this.#settled = settled;
    this.#server = createServer(SESSION_OPTIONS);
    this.#server.on('stream', (stream, headers) => this.#request(stream, headers));
    this.#server.on('sessionError', () => undefined);
  }

  connect(path: string, protocol: string, handler: (knock: Knock<ServerHttp2Stream>) => void): void {
    this.#routes.set(path, { protocol, handler });
  }

  take(socket: Socket): void {
    const fruitless = new TokenBucket(FRUITLESS.perSecond, FRUITLESS.burst, performance.now());
    const remote = remoteOf(socket);
    const source = sourceOf(remote.address);
    const arrival = { remote, source, exporter: exporterOf(socket), fruitless, untakenPages: 0 };
    this.#server.once('session', (session) => {
      this.#sessions.set(session, arrival);
      session.once('close', () => this.#sessions.delete(session));
      session.once('remoteSettings', () => this.#settled(socket));
      session.setTimeout(IDLE_MS, () => session.destroy());
      guard(session);
    });
    this.#server.emit('connection', socket);
  }

  /** Lets streams finish, takes no new ones. */
  drain(): void {
    for (const session of this.#sessions.keys()) session.close();
  }

  #request(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    stream.on('error', () => undefined); // 'close' follows and is what its owner acts on
    const path = headers[':path'] ?? '';
    const { session } = stream;
    const arrival = session && this.#sessions.get(session);
    if (!arrival) {
      stream.destroy();
      return;
    }
    // Whether it is reset shows too late: where we answer first, as under TLS, it has ended by our own NO_ERROR.
    if (!this.#mayFail(arrival)) return calm(session);
    if (headers[':method'] === 'GET') {
      if (isOver(stream)) return;
      arrival.untakenPages += 1;
      stream.once('close', () => (arrival.untakenPages -= 1));
      if (arrival.untakenPages > UNTAKEN_PAGES) return refuse(stream, 503);
      return show(stream, this.#page(path));
    }
    const route = this.#routes.get(path);
    if (headers[':method'] !== 'CONNECT' || !route || headers[':protocol'] !== route.protocol) {
      return refuse(stream, 404);
    }
    const { remote, exporter } = arrival;
    route.handler({
      remote,
      exporter,
      headers,
      accept: () => {
        if (isOver(stream)) return undefined;
        arrival.fruitless.giveBack();
        this.#fruitlessOfAddress.giveBack(arrival.source);
        stream.once('close', () => {
          const isReset = stream.rstCode !== constants.NGHTTP2_NO_ERROR;
          if (isReset && !this.#mayFail(arrival)) calm(session);
        });
        stream.respond({ ':status': 200 });
        return stream;
      },
      refuse: ({ code }) => refuse(stream, statusOf(code), { [ERROR_HEADER]: code }),
    });
  }

  /** One more request that becomes no circuit, or circuit that is reset. */
  #mayFail({ fruitless, source }: Arrival): boolean {
    const now = performance.now();
    return fruitless.take(now) && this.#fruitlessOfAddress.take(source, now);
  }
}

function show(stream: ServerHttp2Stream, { status, text }: Page): void {
  stream.respond({ ':status': status });
  stream.end(text);
  stream.close(constants.NGHTTP2_NO_ERROR); // whatever else it sends is not read
}

/** Without a frame of data, for which an empty one would have to wait where the client grants no window. */
function refuse(stream: ServerHttp2Stream, status: number, headers?: OutgoingHttpHeaders): void {
  if (isOver(stream)) return;
  stream.respond({ ':status': status, ...headers }, { endStream: true });
  // Sent in the turn in which its headers are read, this has killed Node 20 where the client resets its streams at once.
  setImmediate(() => stream.close(constants.NGHTTP2_NO_ERROR));
}

/**
 * Whether there is nobody to answer: `respond` would throw, which nothing catches. A stream that is reset in the segment it comes with is
 * closed before we hear of it, and with NO_ERROR not destroyed yet.
 */
function isOver(stream: ServerHttp2Stream): boolean {
  return stream.destroyed || stream.closed;
}

/** Our own, lower bound on what makes work without being a request: pings, settings. */
function guard(session: Http2Session): void {
  const control = new TokenBucket(CONTROL_FRAMES.perSecond, CONTROL_FRAMES.burst, performance.now());
  const spend = () => {
    if (!control.take(performance.now())) calm(session);
  };
  session.on('error', () => undefined);
  session.on('ping', spend);
  session.on('remoteSettings', spend);
}

/** In the turn in which a request is read under TLS, this has kept Node 20 busy without end. */
function calm(session: Http2Session): void {
  setImmediate(() => session.destroy(undefined, constants.NGHTTP2_ENHANCE_YOUR_CALM));
}
