import { connect, constants, type ClientHttp2Session, type IncomingHttpHeaders } from 'node:http2';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { SallyportError, isErrorCode } from '../core/errors.ts';
import type { Clock } from './clock.ts';
import { ERROR_HEADER, exporterOf } from './knock.ts';

/** 16 MiB keep a path of 300 ms at 400 Mbit/s full. */
const WINDOW_BYTES = 16 * 1024 * 1024;
const SETTINGS_MS = 2_000;
const PING_MS = 15_000;
const PONG_MS = 5_000;

/** A warm HTTP/2 connection to a relay; each circuit is one extended CONNECT stream (RFC 8441) in it. */
export class Http2Link {
  readonly #session: ClientHttp2Session;
  readonly #authority: string;
  readonly #exporter: Uint8Array;
  readonly #clock: Clock;
  #cancelPing: (() => void) | undefined;

  private constructor(session: ClientHttp2Session, socket: Socket, url: URL, clock: Clock) {
    this.#session = session;
    this.#authority = url.host;
    this.#exporter = exporterOf(socket);
    this.#clock = clock;
    session.on('close', () => this.#cancelPing?.());
    session.on('goaway', () => session.close());
    this.#pingLater();
  }

  /** Resolves once the server has shown that it takes extended CONNECT; `undefined` when it doesn't. */
  static open(socket: Socket, url: URL, clock: Clock): Promise<Http2Link | undefined> {
    const session = connect(url, {
      createConnection: () => socket,
      settings: { enablePush: false, initialWindowSize: WINDOW_BYTES },
      maxSessionMemory: 64,
      maxSettings: 8,
      maxHeaderListPairs: 32,
    });
    session.on('error', () => undefined); // 'close' follows
    session.once('connect', () => session.setLocalWindowSize(WINDOW_BYTES));
    return new Promise((resolve) => {
      const give = (link?: Http2Link) => {
        cancel();
        if (!link) session.destroy();
        resolve(link);
      };
      const cancel = clock.setTimer(() => give(), SETTINGS_MS);
      session.once('close', () => give());
      session.once('remoteSettings', ({ enableConnectProtocol }) => {
        give(enableConnectProtocol ? new Http2Link(session, socket, url, clock) : undefined);
      });
    });
  }

  get usable(): boolean {
    return !this.#session.closed && !this.#session.destroyed;
  }

  get exporter(): Uint8Array {
    return this.#exporter;
  }

  onClose(fn: () => void): void {
    this.#session.once('close', fn);
  }

  /** The stream may be written to at once; `refused` is told when the relay doesn't take it. */
  open(opening: string, refused: (error: SallyportError) => void): Duplex {
    const stream = this.#session.request(
      {
        ':method': 'CONNECT',
        ':protocol': 'sallyport',
        ':scheme': this.#session.encrypted ? 'https' : 'http',
        ':path': '/v1/circuit',
        ':authority': this.#authority,
        'sallyport-ticket': opening,
      },
      { endStream: false },
    );
    stream.on('response', (headers) => {
      if (headers[':status'] !== 200) refused(refusalIn(headers, headers[':status']));
    });
    return stream;
  }

  close(): void {
    this.#session.destroy();
  }

  /** Lets its circuits end by themselves. */
  retire(): void {
    this.#session.close();
  }

  #pingLater(): void {
    this.#cancelPing = this.#clock.setTimer(() => this.#ping(), PING_MS);
  }

  #ping(): void {
    if (!this.usable) return;
    const cancel = this.#clock.setTimer(
      () => this.#session.destroy(undefined, constants.NGHTTP2_CANCEL),
      PONG_MS,
    );
    this.#cancelPing = cancel;
    this.#session.ping((error) => {
      cancel();
      if (!error) this.#pingLater();
    });
  }
}

/** Why the relay refused, from the header in which it says so. */
export function refusalIn(headers: IncomingHttpHeaders, status: number | undefined): SallyportError {
  const code = headers[ERROR_HEADER];
  if (isErrorCode(code)) return new SallyportError(code, `the relay refused the circuit: ${code}`);
  return new SallyportError('RELAY_UNREACHABLE', `the relay answered with status ${status}`);
}
