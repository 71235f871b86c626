import { connect, constants, type ClientHttp2Session, type IncomingHttpHeaders } from 'node:http2';
import type { Duplex } from 'node:stream';
import { SallyportError, isErrorCode } from '../core/errors.ts';
import type { Clock } from './clock.ts';
import { PromptSocket } from './prompt-socket.ts';
import { ERROR_HEADER } from './knock.ts';
import type { OriginSocket } from './origin.ts';

/** 16 MiB keep a path of 300 ms at 400 Mbit/s full. */
const WINDOW_BYTES = 16 * 1024 * 1024;
/** What may be on its way to the kernel; more would only make a slow line's queue longer. */
const UNSENT_BYTES = 256 * 1024;
const SETTINGS_MS = 2_000;
const PING_MS = 15_000;
const PONG_MS = 5_000;

interface LinkContext {
  readonly url: URL;
  readonly exporter: Uint8Array;
  readonly clock: Clock;
}

/** A warm HTTP/2 connection to a relay; each circuit is one extended CONNECT stream (RFC 8441) in it. */
export class Http2Link {
  readonly #session: ClientHttp2Session;
  readonly #socket: PromptSocket;
  readonly #url: URL;
  readonly #exporter: Uint8Array;
  readonly #clock: Clock;
  #cancelPing: (() => void) | undefined;

  private constructor(session: ClientHttp2Session, socket: PromptSocket, link: LinkContext) {
    this.#session = session;
    this.#socket = socket;
    this.#url = link.url;
    this.#exporter = link.exporter;
    this.#clock = link.clock;
    session.on('close', () => this.#cancelPing?.());
    session.on('goaway', () => session.close());
    this.#pingLater();
  }

  /** Resolves once the server has shown that it takes extended CONNECT; `undefined` when it doesn't. */
  static open({ socket, exporter }: OriginSocket, url: URL, clock: Clock): Promise<Http2Link | undefined> {
    const prompt = new PromptSocket(socket);
    const context = { url, clock, exporter };
    const session = connect(url, {
      createConnection: () => prompt,
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
        give(enableConnectProtocol ? new Http2Link(session, prompt, context) : undefined);
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

  /** Calls `fn` when the socket has room again. Everything that is written to its streams has to wait for this. */
  readonly gate = (fn: () => void): void => this.#socket.whenSent(UNSENT_BYTES, fn);

  /** The stream may be written to at once; `refused` is told when the relay doesn't take it. */
  open(opening: string, refused: (error: SallyportError) => void): Duplex {
    const stream = this.#session.request(
      {
        ':method': 'CONNECT',
        ':protocol': 'sallyport',
        ':scheme': this.#url.protocol.slice(0, -1),
        ':path': '/v1/circuit',
        ':authority': this.#url.host,
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
