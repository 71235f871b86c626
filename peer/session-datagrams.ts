import { concat } from '../src/core/bytes.ts';
import type { PathId, StreamId } from '../src/core/session/events.ts';
import type { Opener, Sealer } from '../src/core/session/keys.ts';
import type { Clock } from '../src/net/clock.ts';

/** A path's way for single messages that may be lost, and that no lost one holds up. */
export interface MessagePort {
  /** What a message may have at most. */
  readonly maxMessageBytes: number;
  sendMessage(bytes: Uint8Array): void;
  on(event: 'message', listener: (bytes: Uint8Array) => void): unknown;
}

/**
 * Datagrams beside the streams of a session: each belongs to a stream, is sealed with keys of its own, and goes as one
 * message of a UDP path that is up. A box that comes twice opens once.
 * ```
 *  sequence 8 | sealed: stream 4 | datagram
 * ```
 * Stream 0 is the path itself: a datagram of one byte asks (0) whether the path works both ways, or answers (1) by it.
 */
export class SessionDatagrams {
  #sealer: Sealer;
  #opener: Opener;
  readonly #clock: Clock;
  readonly #ports = new Map<PathId, MessagePort>();
  /** Paths that have been confirmed. */
  readonly #up = new Set<PathId>();
  /** Ends the wait for anything to come by a path that has taken a datagram. */
  readonly #stopWaiting = new Map<PathId, () => void>();
  readonly #takers = new Map<StreamId, (bytes: Uint8Array) => void>();
  /** Called with a path whose other end has answered a `check`. */
  onAnswered: (path: PathId) => void = () => {};
  /** Called with a path that has taken datagrams for a while and brought none. Nothing else would show that it is dead: they are not acknowledged. */
  onSilence: (path: PathId) => void = () => {};

  constructor(sealer: Sealer, opener: Opener, clock: Clock) {
    this.#sealer = sealer;
    this.#opener = opener;
    this.#clock = clock;
  }

  /** From a new handshake on. */
  rekey(sealer: Sealer, opener: Opener): void {
    this.#sealer = sealer;
    this.#opener = opener;
  }

  /** Takes what comes by a path at once; sends there once `pathUp` was told of it. */
  addPath(path: PathId, port: MessagePort): void {
    this.#ports.set(path, port);
    port.on('message', (box) => this.#receive(path, box));
  }

  pathUp(path: PathId): void {
    this.#up.add(path);
  }

  pathDown(path: PathId): void {
    this.#up.delete(path);
    this.#ports.delete(path);
    this.#heard(path);
  }

  /** False where no path can carry it so: none is by UDP, or it is too large. */
  send(stream: StreamId, datagram: Uint8Array): boolean {
    for (const path of this.#up) {
      const port = this.#ports.get(path);
      if (!port || datagram.length + OVERHEAD > port.maxMessageBytes) continue;
      port.sendMessage(this.#sealed(stream, datagram));
      if (!this.#stopWaiting.has(path)) this.#await(path, SILENCE_MS);
      return true;
    }
    return false;
  }

  /** Asks the other end of this very path to answer by it. */
  check(path: PathId): void {
    this.#ports.get(path)?.sendMessage(this.#sealed(PATH_ITSELF, ASK));
  }

  /** Hands over what comes for a stream until the function returned is called. */
  take(stream: StreamId, taker: (bytes: Uint8Array) => void): () => void {
    this.#takers.set(stream, taker);
    return () => this.#takers.delete(stream);
  }

  #sealed(stream: StreamId, datagram: Uint8Array): Uint8Array {
    const head = new Uint8Array(4);
    new DataView(head.buffer).setUint32(0, stream);
    return this.#sealer.seal(concat(head, datagram));
  }

  /** What goes one way only gets no answer, and where much is lost most checks are as well: a path is doubted after many of them. */
  #await(path: PathId, ms: number, asked = 0): void {
    const goOn = (): void => {
      this.#stopWaiting.delete(path);
      if (asked === CHECKS) return this.onSilence(path);
      this.check(path);
      this.#await(path, CHECK_MS, asked + 1);
    };
    this.#stopWaiting.set(path, this.#clock.setTimer(goOn, ms));
  }

  #heard(path: PathId): void {
    this.#stopWaiting.get(path)?.();
    this.#stopWaiting.delete(path);
  }

  #receive(path: PathId, box: Uint8Array): void {
    const plain = this.#open(box);
    if (!plain || plain.length < 4) return;
    this.#heard(path);
    const stream = new DataView(plain.buffer, plain.byteOffset).getUint32(0);
    const datagram = plain.subarray(4);
    if (stream === PATH_ITSELF) this.#checked(path, datagram[0]);
    else this.#takers.get(stream)?.(datagram);
  }

  #checked(path: PathId, what: number | undefined): void {
    if (what === ASK[0]) this.#ports.get(path)?.sendMessage(this.#sealed(PATH_ITSELF, ANSWER));
    else if (what === ANSWER[0]) this.onAnswered(path);
  }

  /** Anybody can send to a UDP port: what doesn't open is dropped. */
  #open(box: Uint8Array): Uint8Array | undefined {
    try {
      return this.#opener.open(box);
    } catch {
      return undefined;
    }
  }
}

const SILENCE_MS = 500;
const CHECK_MS = 250;
/** Where three of ten are lost each way, one row of seven in a hundred stays without an answer. */
const CHECKS = 7;
const PATH_ITSELF: StreamId = 0;
const ASK = Uint8Array.of(0);
const ANSWER = Uint8Array.of(1);
/** Sequence, tag, and the stream's number. */
const OVERHEAD = 8 + 16 + 4;
