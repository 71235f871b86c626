import type { ErrorCode } from '../../../src/core/errors.ts';
import type {
  PathEvent,
  PathInfo,
  SessionEnd,
  SessionInput,
  SessionOutput,
  StreamId,
} from '../../../src/core/session/events.ts';
import { SessionMachine, type SessionOptions } from '../../../src/core/session/session.ts';

/** How a virtual path behaves, the same in both directions. */
export interface LinkOptions {
  /** One way. */
  delayMs?: number;
  /** Bytes per millisecond; without it bytes take no time to transmit. */
  rate?: number;
  /** Bytes not yet transmitted that count as written all the same, as in a kernel's socket. */
  bufferBytes?: number;
  info?: Partial<PathInfo>;
}

export interface Received {
  header: Uint8Array | undefined;
  chunks: Uint8Array[];
  bytes: number;
  ended: boolean;
  reset: { code: ErrorCode; message: string; afterEnd: boolean } | undefined;
}

/** One end of the pair: its machine, and everything that the machine has handed out. */
export class End {
  readonly machine: SessionMachine;
  readonly received = new Map<StreamId, Received>();
  readonly drained: StreamId[] = [];
  readonly finished: StreamId[] = [];
  readonly events: PathEvent[] = [];
  readonly wanted: string[] = [];
  readonly pongs: { token: number; rttMs: number | undefined }[] = [];
  readonly datagrams: Uint8Array[] = [];
  closed: SessionEnd | undefined;
  /** Streams whose bytes nobody takes; the others are read at once. */
  readonly stopped = new Set<StreamId>();
  /** Outputs of each type, counted. */
  readonly counts = new Map<string, number>();
  readonly #pair: Pair;

  constructor(pair: Pair, options: SessionOptions) {
    this.#pair = pair;
    this.machine = new SessionMachine(options, pair.now);
  }

  handle(input: SessionInput): void {
    this.machine.handle(input, this.#pair.now);
    this.drain();
  }

  drain(): void {
    for (let output = this.machine.poll(); output; output = this.machine.poll()) this.#perform(output);
    this.#pair.arm(this);
  }

  open(text = 'header'): StreamId {
    const stream = this.machine.reserveStream();
    this.handle({ type: 'open', stream, header: Buffer.from(text) });
    return stream;
  }

  write(stream: StreamId, bytes: Uint8Array): void {
    this.handle({ type: 'write', stream, chunks: [bytes] });
  }

  of(stream: StreamId): Received {
    let received = this.received.get(stream);
    if (!received) {
      received = { header: undefined, chunks: [], bytes: 0, ended: false, reset: undefined };
      this.received.set(stream, received);
    }
    return received;
  }

  bytesOf(stream: StreamId): Buffer {
    return Buffer.concat(this.of(stream).chunks);
  }

  /** The states that a path went through at this end, with `active` and `down`. */
  states(path: number): string[] {
    return this.events.filter((event) => event.path.id === path).map((event) => event.state);
  }

  get active(): number | undefined {
    return this.machine.stats.paths.find((path) => path.active)?.path.id;
  }

  #perform(output: SessionOutput): void {
    this.counts.set(output.type, (this.counts.get(output.type) ?? 0) + 1);
    switch (output.type) {
      case 'transmit':
        return this.#pair.carry(this, output.path, Buffer.concat(output.chunks));
      case 'close-path':
        return this.#pair.closePath(this, output.path, output.graceful);
      case 'opened':
        this.of(output.stream).header = output.header;
        return;
      case 'data': {
        const received = this.of(output.stream);
        received.chunks.push(output.bytes);
        received.bytes += output.bytes.length;
        if (this.stopped.has(output.stream)) return;
        const { stream, bytes } = output;
        this.machine.handle({ type: 'consumed', stream, bytes: bytes.length }, this.#pair.now);
        return;
      }
      case 'ended':
        this.of(output.stream).ended = true;
        return;
      case 'reset':
        this.of(output.stream).reset = output;
        return;
      case 'drained':
        this.drained.push(output.stream);
        return;
      case 'finished':
        this.finished.push(output.stream);
        return;
      case 'path':
        this.events.push(output.event);
        return;
      case 'check':
        return this.#pair.check(this, output.path);
      case 'need-path':
        this.wanted.push(output.reason);
        return;
      case 'pong':
        this.pongs.push(output);
        return;
      case 'datagram':
        this.datagrams.push(output.bytes);
        return;
      case 'closed':
        this.closed = output.end;
        return;
    }
  }
}

interface Link {
  options: LinkOptions;
  /** Nothing arrives any more, and nobody is told. */
  black: boolean;
  down: boolean;
  /** What would arrive before comes then: a lost packet holds up those behind it. Checks pass meanwhile. */
  heldUntil: number;
  /** One check in so many is lost. */
  losesOneIn: number;
  checks: number;
  /** Who has closed it while nothing passed: nothing that it had under way is sent again, and it answers nothing. */
  closed: Set<End>;
  /** Nothing passes then. The carrier sends what was lost again after 1 s, and then after 2, 4, … */
  isOut: (at: number) => boolean;
  /** When each end's transmitter is free again. */
  freeAt: Map<End, number>;
  /** When the last of what each end has sent arrives: nothing overtakes it. */
  lastArrival: Map<End, number>;
  bytes: number;
}

interface Event {
  at: number;
  order: number;
  run: () => void;
}

/** Two session machines, joined by virtual paths in virtual time. */
export class Pair {
  now = 1000;
  readonly a: End;
  readonly b: End;
  readonly #links = new Map<number, Link>();
  #events: Event[] = [];
  #order = 0;
  #nextPath = 1;
  readonly #wakeAt = new Map<End, number>();
  /** Cuts what arrives, as a TLS socket does. */
  chunkBytes = 16 * 1024;

  constructor(options: Partial<SessionOptions> = {}) {
    const sessionId = Buffer.alloc(16, 7);
    this.a = new End(this, { role: 'initiator', sessionId, ...options });
    this.b = new End(this, { role: 'responder', sessionId, ...options });
    this.a.drain();
    this.b.drain();
  }

  /** A new path, up at both ends now. */
  addPath(options: LinkOptions = {}): number {
    const id = this.#nextPath++;
    this.#links.set(id, {
      options: { ...options },
      black: false,
      down: false,
      heldUntil: 0,
      losesOneIn: Infinity,
      checks: 0,
      closed: new Set(),
      isOut: () => false,
      freeAt: new Map(),
      lastArrival: new Map(),
      bytes: 0,
    });
    const path: PathInfo = { id, kind: 'tcp', direct: true, ...options.info };
    this.a.handle({ type: 'path-up', path });
    this.b.handle({ type: 'path-up', path });
    return id;
  }

  /** The carrier fails; both ends learn of it, what is under way is lost. */
  killPath(id: number, reason = 'killed'): void {
    const link = this.#links.get(id);
    if (!link || link.down) return;
    link.down = true;
    this.a.handle({ type: 'path-down', path: id, reason });
    this.b.handle({ type: 'path-down', path: id, reason });
  }

  /** Swallows everything on the path from now on, silently. */
  blackhole(id: number): void {
    this.#links.get(id)!.black = true;
  }

  /** Its stream stands for so long; of the checks beside it, one in `losesOneIn` is lost. */
  hold(id: number, ms: number, losesOneIn = Infinity): void {
    Object.assign(this.#links.get(id)!, { heldUntil: this.now + ms, losesOneIn });
  }

  /** Nothing passes at these times; the carrier sends it again later. */
  cutWhile(id: number, isOut: (at: number) => boolean): void {
    this.#links.get(id)!.isOut = isOut;
  }

  /** From now on the path behaves otherwise; what is under way keeps its time. */
  change(id: number, options: LinkOptions): void {
    Object.assign(this.#links.get(id)!.options, options);
  }

  /** As the peers do beside the session: one message there, and one back. */
  check(from: End, id: number): void {
    const link = this.#links.get(id)!;
    const { options, black, closed, isOut, losesOneIn } = link;
    link.checks += 1;
    if (black || closed.size > 0 || isOut(this.now) || link.checks % losesOneIn === 0) return;
    this.at(this.now + 2 * (options.delayMs ?? 0), () => from.handle({ type: 'answered', path: id }));
  }

  bytesOn(id: number): number {
    return this.#links.get(id)!.bytes;
  }

  closePath(end: End, id: number, graceful: boolean): void {
    const { black, isOut, closed } = this.#links.get(id)!;
    if (black || isOut(this.now)) return void closed.add(end); // the other end isn't told
    if (graceful) {
      const { delayMs = 0 } = this.#links.get(id)!.options;
      this.at(this.now + delayMs + 1, () => this.killPath(id, 'the carrier ended'));
    } else {
      this.at(this.now, () => this.killPath(id, 'the carrier was destroyed'));
    }
  }

  carry(from: End, id: number, bytes: Buffer): void {
    const link = this.#links.get(id)!;
    const to = from === this.a ? this.b : this.a;
    const { delayMs = 0, rate = Infinity, bufferBytes = 0 } = link.options;
    const sentAt = Math.max(this.now, link.freeAt.get(from) ?? 0) + bytes.length / rate;
    link.freeAt.set(from, sentAt);
    link.bytes += bytes.length;
    this.at(Math.max(this.now, sentAt - bufferBytes / rate), () => {
      if (!link.down) from.handle({ type: 'path-written', path: id, bytes: bytes.length });
    });
    for (let at = 0; at < bytes.length; at += this.chunkBytes) {
      const chunk = bytes.subarray(at, at + this.chunkBytes);
      const leaves = sentAt - (bytes.length - at - chunk.length) / rate;
      const arrives = timeOfPassing(link, Number.isFinite(leaves) ? leaves : sentAt) + delayMs;
      const inOrder = Math.max(arrives, link.heldUntil, link.lastArrival.get(from) ?? 0);
      link.lastArrival.set(from, inOrder);
      this.at(inOrder - delayMs, () => {
        if (link.closed.has(from)) return;
        this.at(inOrder, () => this.#arrive(link, id, to, chunk));
      });
    }
  }

  #arrive(link: Link, id: number, to: End, bytes: Buffer): void {
    if (link.down || link.black) return;
    if (!link.closed.has(to)) to.handle({ type: 'path-bytes', path: id, bytes });
    else if (link.options.info?.kind !== 'udp') this.killPath(id, 'reset by the kernel');
  }

  at(at: number, run: () => void): void {
    this.#order += 1;
    const event = { at, order: this.#order, run };
    let low = 0;
    let high = this.#events.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const other = this.#events[middle]!;
      if (other.at > at || (other.at === at && other.order > event.order)) low = middle + 1;
      else high = middle;
    }
    this.#events.splice(low, 0, event);
  }

  arm(end: End): void {
    const deadline = end.machine.deadline;
    if (deadline === undefined || deadline === this.#wakeAt.get(end)) return;
    this.#wakeAt.set(end, deadline);
    this.at(Math.max(deadline, this.now), () => {
      if (this.#wakeAt.get(end) !== deadline) return;
      this.#wakeAt.delete(end);
      const due = end.machine.deadline;
      if (due !== undefined && due <= this.now) end.machine.handleTimeout(this.now);
      end.drain();
    });
  }

  /** Runs for so many virtual milliseconds, or until the condition holds. */
  run(ms: number, until: () => boolean = () => false): void {
    const end = this.now + ms;
    while (!until()) {
      const event = this.#events.at(-1);
      if (!event || event.at > end) {
        this.now = end;
        return;
      }
      this.#events.pop();
      this.now = Math.max(this.now, event.at);
      event.run();
    }
  }
}

/** When a packet that first leaves at `at` gets through. */
function timeOfPassing({ isOut }: Link, at: number): number {
  for (let pauseMs = RETRANSMISSION_MS; isOut(at); pauseMs *= 2) at += pauseMs;
  return at;
}

/** The least of udx. */
const RETRANSMISSION_MS = 1_000;

/** Bytes that differ at every offset and for every seed. */
export function pattern(length: number, seed = 1): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  let state = seed * 2654435761;
  for (let at = 0; at < length; at += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[at] = state >>> 24;
  }
  return bytes;
}
