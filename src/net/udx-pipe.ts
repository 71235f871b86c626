import { Duplex } from 'node:stream';
import type { UDXSocket, UDXStream } from 'udx-native';
import { familyOf, type Endpoint } from '../core/endpoint.ts';
import { asSallyportError, SallyportError } from '../core/errors.ts';
import { FirstBytes, type FirstBytesInput, type FirstBytesOutput } from '../core/session/first-bytes.ts';
import { systemClock } from './clock.ts';
import { Driver } from './driver.ts';
import { microtask } from './microtask.ts';
import { takesAtOnce } from './takes-at-once.ts';

/** What a liveness judge polls: udx itself tells a sender after 13 s, a receiver never. */
export interface UdxStats {
  packetsReceived: number;
  bytesReceived: number;
  bytesSent: number;
  /** Packets sent and not yet acknowledged. */
  inflight: number;
  /** Retransmission timeouts in a row; 0 once something is acknowledged. */
  rtoCount: number;
  retransmits: number;
  /** Smoothed round trip in milliseconds; 0 until measured. */
  rttMs: number;
  /** Congestion window, in packets. */
  cwnd: number;
  mtu: number;
}

/**
 * One congestion-controlled, ordered byte stream over a `UdpSocket`.
 *
 * - Bytes are handed to udx by reference and are read until acknowledged: whoever writes must not reuse the buffer (TLS doesn't).
 * - udx acknowledges whatever comes, read or not: bound what the other end may send by a window of the layer above.
 * - `destroy()` after `end()` lets what is in flight arrive first, for at most three seconds; without `end()` it resets the other end.
 *   'close' comes when udx has let go of the stream.
 */
export class UdxPipe extends Duplex {
  readonly #stream: UDXStream;
  #socket: UDXSocket;
  readonly #remoteId: number;
  #remote: Endpoint;
  #closed = false;
  /** Chunks of this turn of the event loop, oldest first, without the newest run. */
  #arrived: Buffer[] = [];
  /** udx cuts packets from one slab, back to back: the newest run of them, joined without copying. */
  #run: { slab: ArrayBufferLike; start: number; end: number } | undefined;
  #flushScheduled = false;
  /** Where the first bytes go by messages. */
  readonly #first: FirstBytes | undefined;
  readonly #firstDriver: Driver<FirstBytesInput, FirstBytesOutput> | undefined;
  /** What the stream has brought before all first bytes were there. */
  #early: Buffer[] = [];
  #earlyBytes = 0;
  /** Called once the other end has all first bytes that were written, or never will. */
  #onDelivered: (() => void)[] = [];

  /** @internal For udx ships no types. @param repeatMs with it the first bytes go by messages (`FirstBytes`); the other end has to do the same */
  constructor(stream: UDXStream, socket: UDXSocket, remoteId: number, remote: Endpoint, repeatMs?: number) {
    super({
      allowHalfOpen: true,
      readableHighWaterMark: HIGH_WATER_MARK,
      writableHighWaterMark: HIGH_WATER_MARK,
    });
    this.#stream = stream;
    this.#socket = socket;
    this.#remoteId = remoteId;
    this.#remote = remote;
    if (repeatMs !== undefined) {
      this.#first = new FirstBytes(repeatMs);
      this.#firstDriver = new Driver(this.#first, systemClock, (output) => this.#onFirst(output));
    }
    takePackets(stream, (packet) => this.#onPacket(packet));
    stream.on('end', () => this.#onEnd());
    stream.on('message', (bytes: Buffer) => this.#onMessage(bytes));
    stream.on('error', (cause: Error) => this.destroy(pathFailed(cause)));
    stream.on('close', () => this.#onClose());
    stream.connect(socket, remoteId, remote.port, remote.address);
  }

  get remote(): Endpoint {
    return this.#remote;
  }

  get stats(): UdxStats {
    const {
      packetsReceived,
      bytesReceived,
      bytesTransmitted,
      inflight,
      rtoCount,
      retransmits,
      rtt,
      cwnd,
      mtu,
    } = this.#stream;
    return {
      packetsReceived,
      bytesReceived,
      bytesSent: bytesTransmitted,
      inflight,
      rtoCount,
      retransmits,
      rttMs: rtt,
      cwnd,
      mtu,
    };
  }

  /**
   * @internal Goes on towards another endpoint of the same peer; resolves when nothing is in flight to the old one.
   *
   * udx addresses a packet when it first leaves and sends it again to that same endpoint. So this serves while the old endpoint still
   * receives, or while nothing is in flight; where a rebound NAT has swallowed packets the stream stays stuck, and a new one is needed.
   * Fails with `NO_PATH` when the stream ends first or another change is under way.
   */
  async changeRemote(remote: Endpoint, socket: UDXSocket = this.#socket): Promise<void> {
    const stream = this.#stream;
    const change = () => stream.changeRemote(socket, this.#remoteId, remote.port, remote.address);
    try {
      if (familyOf(remote) !== familyOf(this.#remote)) {
        // libudx writes an IPv4 address the way the socket that is left needs it: mapped into IPv6, where no IPv4 socket sends.
        // Asked again, it finds the new socket, and writes it anew.
        change()?.catch(() => {});
        stream._remoteChanging = null;
      }
      const changed = change();
      this.#remote = remote;
      this.#socket = socket;
      await changed;
    } catch (error) {
      throw asSallyportError(error, 'NO_PATH');
    }
  }

  /** At the path's present MTU, which udx finds out (IPv6, UDP and udx headers off). */
  get maxMessageBytes(): number {
    return this.#stream.mtu - MESSAGE_HEADERS;
  }

  /** Sends one message beside the stream: it may be lost, and waits for nothing. Arrives as a `message` event. */
  sendMessage(bytes: Uint8Array): void {
    if (!this.#closed) this.#stream.trySend(bytes);
  }

  override push(chunk: Uint8Array | null): boolean {
    if (chunk === null || !takesAtOnce(this)) return super.push(chunk);
    return this.emit('data', chunk);
  }

  /** udx has no receive window to close: what comes is pushed, whether asked for or not. */
  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.#hand(chunk, done);
  }

  /** Joined: for udx each write is a request of its own, which costs more than the copy of a TLS record. */
  override _writev(chunks: { chunk: Buffer }[], done: () => void): void {
    this.#hand(Buffer.concat(chunks.map(({ chunk }) => chunk)), done);
  }

  override _final(done: () => void): void {
    this.#whenDelivered(() => {
      if (!this.#closed) this.#stream.end();
      done();
    });
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    if (this.#closed) return done(error);
    this.#stream.on('close', () => done(error));
    if (error !== null || !this.writableEnded) this.#stream.destroy();
    else void this.#linger();
  }

  /** Destroying a udx stream drops what it has in flight: wait for that, or for udx to close by itself once both ends have ended. */
  async #linger(): Promise<void> {
    const limit = setTimeout(() => {
      this.#stream.destroy();
      this.#stream._predestroy();
    }, LINGER_MS);
    this.#stream.on('close', () => clearTimeout(limit));
    if (this.readableEnded) return;
    await new Promise<void>((resolve) => this.#whenDelivered(resolve));
    await this.#stream.flush();
    this.#stream.destroy();
  }

  /** To udx itself: streamx would queue what it is given, and look at it a microtask later. */
  #hand(chunk: Buffer, done: () => void): void {
    const rest = this.#writeFirst(chunk);
    if (rest.length === 0 || this.#closed || this.#stream.destroying) done();
    else this.#stream._writev([rest], done);
  }

  /** Takes from `chunk` what goes by messages, and returns what is left. */
  #writeFirst(chunk: Buffer): Buffer {
    const room = this.#first?.room ?? 0;
    if (room === 0) return chunk;
    this.#firstDriver!.handle({ type: 'write', bytes: chunk.subarray(0, room) });
    return chunk.subarray(room);
  }

  #onFirst(output: FirstBytesOutput): void {
    if (output.type === 'send') return this.sendMessage(output.bytes);
    this.push(output.bytes);
    if (!this.#first!.complete) return;
    for (const chunk of this.#early.splice(0)) this.push(chunk);
  }

  #onMessage(bytes: Buffer): void {
    if (!this.#firstDriver || !FirstBytes.isMessage(bytes)) return void this.emit('message', bytes);
    this.#firstDriver.handle({ type: 'message', bytes });
    if (this.#first!.delivered) this.#delivered();
  }

  #whenDelivered(then: () => void): void {
    if (this.#closed || (this.#first?.delivered ?? true)) then();
    else this.#onDelivered.push(then);
  }

  #delivered(): void {
    for (const then of this.#onDelivered.splice(0)) then();
  }

  /** The first packet of a turn is passed on at once, for the sake of who waits for it; the others of the turn together. */
  #onPacket(packet: Buffer): void {
    if (this.#first?.complete === false) return this.#keepEarly(packet);
    if (!this.#flushScheduled) {
      this.#flushScheduled = true;
      microtask(() => this.push(packet));
      setImmediate(this.#flush);
      return;
    }
    const run = this.#run;
    if (run !== undefined && run.slab === packet.buffer && run.end === packet.byteOffset)
      run.end += packet.length;
    else {
      this.#closeRun();
      this.#run = { slab: packet.buffer, start: packet.byteOffset, end: packet.byteOffset + packet.length };
    }
  }

  /** Nothing above bounds what comes before anything has been passed on. */
  #keepEarly(packet: Buffer): void {
    this.#earlyBytes += packet.length;
    if (this.#earlyBytes <= MOST_EARLY_BYTES) this.#early.push(packet);
    else this.destroy(new SallyportError('LIMIT', 'too much came before the first bytes of a UDP path'));
  }

  #closeRun(): void {
    if (this.#run === undefined) return;
    const { slab, start, end } = this.#run;
    this.#arrived.push(Buffer.from(slab, start, end - start));
    this.#run = undefined;
  }

  readonly #flush = (): void => {
    this.#flushScheduled = false;
    if (this.#run === undefined) return;
    this.#closeRun();
    const arrived = this.#arrived;
    this.#arrived = [];
    for (const chunk of arrived) this.push(chunk);
  };

  #onEnd(): void {
    this.#flush();
    this.push(null);
  }

  #onClose(): void {
    this.#closed = true;
    this.#firstDriver?.stop();
    this.#delivered();
    this.destroy();
  }
}

/**
 * Takes packets where udx hands them to streamx, which would queue each one and emit it a microtask later: an eighth of the
 * receiver's time at full speed. The end goes the usual way, since it is what lets the stream close.
 */
function takePackets(stream: UDXStream, take: (packet: Buffer) => void): void {
  const end = stream.push.bind(stream, null);
  stream.push = (packet) => {
    if (packet === null) return end();
    take(packet);
    return true;
  };
  stream.resume();
}

function pathFailed(cause: Error): SallyportError {
  return new SallyportError('PEER_LOST', `the UDP path failed: ${cause.message}`, { cause });
}

/** Bytes on either side of the stream before backpressure: several turns of the event loop at 1 Gbit/s. */
const HIGH_WATER_MARK = 256 * 1024;
/** 40 of IPv6, 8 of UDP, 20 of udx. */
const MESSAGE_HEADERS = 68;
/** How long a stream that has been ended may take to get its last bytes acknowledged. */
const LINGER_MS = 3_000;
/** Several times what a session has in flight on a path that has answered nothing yet. */
const MOST_EARLY_BYTES = 1024 * 1024;
