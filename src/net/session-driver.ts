import { EventEmitter } from 'node:events';
import { availableParallelism } from 'node:os';
import type { Duplex } from 'node:stream';
import { notWanted, SallyportError, type ErrorCode } from '../core/errors.ts';
import { remoteFailure } from '../core/remote-failure.ts';
import type {
  PathEvent,
  PathId,
  PathInfo,
  SessionEnd,
  SessionInput,
  SessionOutput,
  StreamId,
} from '../core/session/events.ts';
import { BusyPolling, FEW_BYTES } from '../core/session/busy-polling.ts';
import { MAX_OPEN_HEADER } from '../core/session/frame.ts';
import { SessionMachine, type SessionOptions, type SessionStats } from '../core/session/session.ts';
import { Carrier } from './carrier.ts';
import { systemClock, type Clock } from './clock.ts';
import { Driver } from './driver.ts';
import { SessionStream, type StreamCarrier } from './session-stream.ts';
import { stayAwake } from './stay-awake.ts';

export interface SessionEvents {
  /** The peer opened a stream; without a listener it is refused. */
  stream: [stream: SessionStream, header: Uint8Array];
  path: [event: PathEvent];
  datagram: [bytes: Uint8Array];
  /** The path's other end is to be asked by a message, beside what the path carries; then `answered`. */
  check: [path: PathId];
  /** A (better) way to the peer is wanted. */
  'need-path': [reason: string];
  /** The last event. */
  closed: [end: SessionEnd];
}

export interface PingResult {
  readonly rttMs: number;
  readonly path: PathInfo;
}

export interface PingOptions {
  path?: PathId | undefined;
  timeoutMs?: number | undefined;
  signal?: AbortSignal | undefined;
}

export interface SessionDriverOptions extends SessionOptions {
  clock?: Clock;
}

interface AttachedPath {
  info: PathInfo;
  carrier: Carrier;
}

interface PendingPing {
  resolve(result: PingResult): void;
  reject(error: SallyportError): void;
}

/** Runs a session machine over real byte pipes and gives its streams out as Node streams. */
export class SessionDriver extends EventEmitter<SessionEvents> {
  readonly #clock: Clock;
  readonly #machine: SessionMachine;
  readonly #driver: Driver<SessionInput, SessionOutput>;
  readonly #paths = new Map<PathId, AttachedPath>();
  readonly #streams = new Map<StreamId, SessionStream>();
  readonly #pings = new Map<number, PendingPing>();
  readonly #carrier: StreamCarrier = {
    write: (stream, chunks) => this.#driver.handleSoon({ type: 'write', stream, chunks }),
    end: (stream) => this.#driver.handleSoon({ type: 'end', stream }),
    reset: (stream, code, message) => this.#driver.handleSoon({ type: 'reset', stream, code, message }),
    consumed: (stream, bytes) => this.#driver.handleSoon({ type: 'consumed', stream, bytes }),
    forget: (stream) => this.#streams.delete(stream),
  };
  /** On one core whoever is awake keeps the other end from answering. */
  readonly #busyPolling = availableParallelism() > 1 ? new BusyPolling() : undefined;
  #nextPathId: PathId = 1;
  #nextPing = 1;
  #end: SessionEnd | undefined;
  #activePath: PathId | undefined;

  constructor({ clock = systemClock, ...options }: SessionDriverOptions) {
    super();
    this.setMaxListeners(0); // one for each call that waits for the end
    this.#clock = clock;
    this.#machine = new SessionMachine(options, clock.now());
    this.#driver = new Driver(this.#machine, clock, (output) => this.#perform(output));
    this.#driver.drain();
  }

  /** How the session ended; `undefined` while it lives. */
  get end(): SessionEnd | undefined {
    return this.#end;
  }

  /** One of the ends has said that it closes the session, which has not ended yet. */
  get isClosing(): boolean {
    return this.#machine.isClosing;
  }

  get stats(): SessionStats {
    return this.#machine.stats;
  }

  /** The path that this end sends on. */
  get activePath(): PathInfo | undefined {
    return this.#activePath === undefined ? undefined : this.#paths.get(this.#activePath)?.info;
  }

  /** Every path, confirmed or not. */
  get paths(): PathInfo[] {
    return [...this.#paths.values()].map(({ info }) => info);
  }

  /** What the peer expects next isn't more than this end has sent. */
  hasSent(next: number): boolean {
    return next <= this.#machine.stats.framesSent;
  }

  /** The next reliable frame expected from the peer, for the offer that resumes the session. */
  get nextExpected(): number {
    return this.#machine.nextExpected;
  }

  /**
   * Takes over an encrypted byte pipe between the two peers and attaches it. The session owns the pipe from here on.
   * @param abandon called before a pipe is destroyed that has died in silence
   */
  addPath(path: Omit<PathInfo, 'id'>, pipe: Duplex, abandon?: () => void): PathId {
    if (this.#end) {
      pipe.on('error', () => {}).destroy();
      throw sessionClosed(this.#end);
    }
    const info: PathInfo = { ...path, id: this.#nextPathId };
    const { id } = info;
    this.#nextPathId += 1;
    // TLS on a TCP socket calls back for each record of a turn, and whoever waits for a few bytes shall not wait for the turn to be over. On
    // other pipes TLS runs inside the callback that brought them all.
    const [kernelPaced, driver] = [info.kind === 'tcp' || info.kind === 'relay-h1', this.#driver];
    const events = {
      bytes: (bytes: Uint8Array) => {
        this.#busyPolling?.received(bytes.length, performance.now());
        const input = { type: 'path-bytes', path: id, bytes } as const;
        if (kernelPaced && bytes.length > FEW_BYTES) driver.handleThisTurn(input);
        else driver.handleSoon(input);
      },
      written: (bytes: number) => this.#driver.handle({ type: 'path-written', path: id, bytes }),
      down: (reason: string) => this.#dropPath(id, reason),
    };
    const carrier = new Carrier(pipe, events, abandon);
    this.#paths.set(id, { info, carrier });
    this.#driver.handle({ type: 'path-up', path: info });
    return id;
  }

  /** Leaves a path; what was sent on it and not acknowledged is sent again on another. */
  removePath(id: PathId, reason: string): void {
    this.#paths.get(id)?.carrier.close(true, this.#clock);
    this.#dropPath(id, reason);
  }

  /** The network has changed: paths that don't answer within a second or so are given up. With a path it is that one alone. */
  question(path?: PathId): void {
    this.#driver.handle({ type: 'question', path });
  }

  /** The rendezvous is reached again: a circuit that has been silent meanwhile is given up. */
  reconnected(): void {
    this.#driver.handle({ type: 'reconnected' });
  }

  /** The other end has answered a `check` of this path. */
  answered(path: PathId): void {
    this.#driver.handle({ type: 'answered', path });
  }

  /** Direct paths on standby are pinged this often. */
  keepAlive(everyMs: number): void {
    this.#driver.handle({ type: 'keepalive', everyMs });
  }

  /** Later paths come from the keys of this handshake. */
  setEpoch(epoch: number): void {
    this.#driver.handle({ type: 'epoch', epoch });
  }

  /** Opens a stream; `header` (at most 16 KiB) reaches the peer's `stream` event. Throws `LIMIT` or `SESSION_CLOSED`. */
  open(header: Uint8Array, { signal }: { signal?: AbortSignal | undefined } = {}): SessionStream {
    if (this.#end) throw sessionClosed(this.#end);
    if (header.length > MAX_OPEN_HEADER) throw new SallyportError('LIMIT', 'a stream header exceeds 16 KiB');
    if (signal?.aborted) throw notWanted();
    const stream = new SessionStream(this.#machine.reserveStream(), this.#carrier);
    this.#streams.set(stream.id, stream);
    if (signal) abortWith(stream, signal);
    // Its first bytes go with it, also where the stream was awaited.
    this.#driver.handleAfterwards({ type: 'open', stream: stream.id, header });
    return stream;
  }

  /** Carried by the sending path; dropped where 64 wait already. At most 65,536 bytes. */
  sendDatagram(bytes: Uint8Array): void {
    this.#driver.handleSoon({ type: 'datagram', bytes });
  }

  /** One round trip, on the sending path unless one is named. Rejects with `NO_PATH`, `TIMEOUT` or `ABORTED`. */
  async ping({ path, timeoutMs = 15_000, signal }: PingOptions = {}): Promise<PingResult> {
    if (this.#end) throw sessionClosed(this.#end);
    if (signal?.aborted) throw notWanted();
    const token = this.#nextPing;
    this.#nextPing += 1;
    const cancel = this.#clock.setTimer(() => {
      this.#pings.get(token)?.reject(new SallyportError('TIMEOUT', `no answer to a ping in ${timeoutMs} ms`));
    }, timeoutMs);
    const abort = () => this.#pings.get(token)?.reject(notWanted());
    signal?.addEventListener('abort', abort);
    try {
      return await new Promise<PingResult>((resolve, reject) => {
        this.#pings.set(token, { resolve, reject });
        this.#driver.handle({ type: 'ping', token, path });
      });
    } finally {
      cancel();
      signal?.removeEventListener('abort', abort);
      this.#pings.delete(token);
    }
  }

  /** Lets ended streams finish, resets the others, tells the peer, and resolves once both ends agree or 5 s pass in silence. */
  async close(code?: ErrorCode, message?: string): Promise<SessionEnd> {
    if (this.#end) return this.#end;
    const closed = new Promise<SessionEnd>((resolve) => {
      this.once('closed', resolve);
    });
    const ending = [...this.#streams.values()].filter((stream) => stream.writableEnded);
    this.#driver.handle({ type: 'close', code, message, ending: new Set(ending.map((stream) => stream.id)) });
    return await closed;
  }

  /** Closes at once; the peer is told if that is possible without waiting. */
  destroy(code: ErrorCode = 'SESSION_CLOSED', message = 'the session was closed'): void {
    this.#driver.handle({ type: 'abort', code, message });
  }

  #perform(output: SessionOutput): void {
    switch (output.type) {
      case 'transmit':
        return this.#transmit(output.path, output.chunks, output.bytes);
      case 'data':
        this.#streams.get(output.stream)?.deliver(output.bytes);
        return;
      case 'drained':
        this.#streams.get(output.stream)?.drained();
        return;
      case 'finished':
        this.#streams.get(output.stream)?.finished();
        return;
      case 'ended':
        this.#streams.get(output.stream)?.deliverEnd();
        return;
      case 'reset':
        this.#streams.get(output.stream)?.fail(remoteFailure(output.code, output.message || RESET_BY_PEER));
        return;
      case 'opened':
        return this.#accept(output.stream, output.header);
      case 'close-path':
        this.#paths.get(output.path)?.carrier.close(output.graceful, this.#clock);
        this.#paths.delete(output.path);
        return;
      case 'path':
        return this.#reportPath(output.event);
      case 'pong':
        return this.#settlePing(output.token, output.path, output.rttMs);
      case 'datagram':
        this.emit('datagram', output.bytes);
        return;
      case 'check':
        this.emit('check', output.path);
        return;
      case 'need-path':
        this.emit('need-path', output.reason);
        return;
      case 'closed':
        return this.#close(output.end);
    }
  }

  #transmit(path: PathId, chunks: readonly Uint8Array[], bytes: number): void {
    this.#paths.get(path)?.carrier.transmit(chunks, bytes);
    const awake = this.#busyPolling?.sent(bytes, performance.now());
    if (awake !== undefined) stayAwake(awake);
  }

  #accept(id: StreamId, header: Uint8Array): void {
    const stream = new SessionStream(id, this.#carrier);
    this.#streams.set(id, stream);
    if (this.emit('stream', stream, header)) return;
    stream.on('error', () => {});
    stream.reset('UNSUPPORTED', 'streams are not accepted here');
  }

  #dropPath(id: PathId, reason: string): void {
    this.#driver.handle({ type: 'path-down', path: id, reason });
    this.#paths.delete(id);
  }

  #reportPath(event: PathEvent): void {
    if (event.state === 'active') this.#activePath = event.path.id;
    if (event.state === 'down' && this.#activePath === event.path.id) this.#activePath = undefined;
    this.emit('path', event);
  }

  #settlePing(token: number, id: PathId | undefined, rttMs: number | undefined): void {
    const ping = this.#pings.get(token);
    const path = id === undefined ? undefined : this.#paths.get(id)?.info;
    if (rttMs !== undefined && path) ping?.resolve({ rttMs, path });
    else ping?.reject(new SallyportError('NO_PATH', 'the path went down before the answer came'));
  }

  #close(end: SessionEnd): void {
    this.#end = end;
    this.#activePath = undefined;
    this.#driver.stop();
    const error = sessionClosed(end);
    for (const stream of this.#streams.values()) stream.fail(error);
    for (const ping of this.#pings.values()) ping.reject(error);
    this.emit('closed', end);
  }
}

function sessionClosed(end: SessionEnd): SallyportError {
  return remoteFailure(end.code ?? 'SESSION_CLOSED', end.message || 'the session is closed');
}

function abortWith(stream: SessionStream, signal: AbortSignal): void {
  const abort = (): void => stream.reset('ABORTED', 'the stream was aborted');
  signal.addEventListener('abort', abort, { once: true });
  stream.once('close', () => signal.removeEventListener('abort', abort));
}

const RESET_BY_PEER = 'the peer reset the stream';
