import assert from 'node:assert';
import { SallyportError, type ErrorCode } from '../errors.ts';
import type { Instant, Machine } from '../machine.ts';
import { Batch } from './batch.ts';
import { DatagramQueue } from './datagram-queue.ts';
import type { PathId, PathInfo, SessionEnd, SessionInput, SessionOutput, StreamId } from './events.ts';
import type { SessionRole } from './role.ts';
import { Farewell } from './farewell.ts';
import { Fifo } from './fifo.ts';
import { encodeHeader, FrameType } from './frame.ts';
import { Incoming } from './incoming.ts';
import { DEFAULT_LIMITS, PROCESS_SEND_BUDGET, PROCESS_WINDOW_BUDGET, type SessionLimits } from './limits.ts';
import { Mux } from './mux.ts';
import { goawayFrame } from './outgoing.ts';
import { PathSet } from './path-set.ts';
import type { Path, PathStats } from './path.ts';
import { ResendBuffer, type SentFrame } from './resend.ts';
import { SendBudget } from './send-budget.ts';
import { SequenceSender } from './sender.ts';
import { WindowBudget } from './window.ts';

export interface SessionOptions {
  role: SessionRole;
  /** 16 bytes, the same at both ends. */
  sessionId: Uint8Array;
  /** The handshake that the first paths' keys come from; 0 on a new session. */
  epoch?: number;
  limits?: Partial<SessionLimits>;
  /** Shared by the sessions of a process, … */
  budget?: WindowBudget;
  /** … and so is this. */
  sendBudget?: SendBudget;
}

export interface SessionStats {
  readonly paths: readonly PathStats[];
  /** Streams in the table. */
  readonly streams: number;
  /** Received and not yet read by the user. */
  readonly unreadBytes: number;
  /** The session's receive window. */
  readonly windowBytes: number;
  /** Reliable frames sent and not acknowledged. */
  readonly unacknowledgedFrames: number;
  readonly framesSent: number;
  readonly framesReceived: number;
  /** Reliable frames that were sent once more on another path. */
  readonly framesResent: number;
  readonly datagramsDropped: number;
}

/**
 * Two peers, one conversation: streams over any number of paths, none of which it depends on. Frames that the peer
 * has not acknowledged are sent again on the next path; the peer takes each exactly once.
 *
 *     open, write, end, reset ─▶ Mux ─ frames ─▶ SequenceSender ─┐
 *                                                 DatagramQueue ─┴─▶ Batch ─▶ Path ═══▶ transmit
 *     opened, data, ended, reset ◀─ Mux ◀─ Incoming ◀─ FrameDecoder ◀─ Path ◀═════════ path-bytes
 *
 * `PathSet` says on which path this end sends and which are dead, `Farewell` how the session ends.
 */
export class SessionMachine implements Machine<SessionInput, SessionOutput> {
  readonly #limits: SessionLimits;
  readonly #outputs = new Fifo<SessionOutput>();
  readonly #mux: Mux;
  readonly #unacknowledged: ResendBuffer;
  readonly #sender: SequenceSender;
  readonly #datagrams: DatagramQueue;
  readonly #paths: PathSet;
  readonly #incoming: Incoming;
  readonly #farewell: Farewell;
  /** The keys that a path which comes up now has. */
  #epoch: number;
  /** Gathers what the next transmit carries; empty between two calls of `poll`. */
  #batch = new Batch();
  #now: Instant;
  #closed = false;

  constructor({ role, sessionId, epoch = 0, limits, ...budgets }: SessionOptions, now: Instant) {
    const {
      budget = new WindowBudget(PROCESS_WINDOW_BUDGET),
      sendBudget = new SendBudget(PROCESS_SEND_BUDGET),
    } = budgets;
    this.#epoch = epoch;
    this.#now = now;
    this.#limits = { ...DEFAULT_LIMITS, ...limits };
    this.#farewell = new Farewell(this.#limits.closeTimeoutMs);
    const emit = (output: SessionOutput): void => this.#outputs.push(output);
    this.#unacknowledged = new ResendBuffer(sendBudget);
    this.#sender = new SequenceSender(this.#limits, this.#unacknowledged, (sequence, frameBytes, room) =>
      this.#newFrame(sequence, frameBytes, room),
    );
    this.#datagrams = new DatagramQueue(this.#limits.datagrams);
    this.#paths = new PathSet(this.#unacknowledged, emit, now);
    this.#mux = new Mux({ role, limits: this.#limits, budget, sendBudget, emit });
    this.#incoming = new Incoming({
      role,
      sessionId,
      limits: this.#limits,
      mux: this.#mux,
      paths: this.#paths,
      sender: this.#sender,
      farewell: this.#farewell,
      emit,
    });
  }

  get deadline(): Instant | undefined {
    if (this.#closed) return undefined;
    const pathless = this.#paths.pathlessSince;
    const first = Math.min(
      this.#paths.deadline,
      this.#incoming.acknowledgeAt ?? Infinity,
      this.#farewell.deadline ?? Infinity,
      pathless === undefined ? Infinity : pathless + this.#limits.resumeTimeoutMs,
    );
    return first === Infinity ? undefined : first;
  }

  get stats(): SessionStats {
    return {
      paths: [...this.#paths].map((path) => path.stats(path === this.#paths.active)),
      streams: this.#mux.size,
      unreadBytes: this.#mux.unread,
      windowBytes: this.#mux.receiveWindowSize,
      unacknowledgedFrames: this.#sender.unacknowledged,
      framesSent: this.#sender.next,
      framesReceived: this.#incoming.next,
      framesResent: this.#sender.resent,
      datagramsDropped: this.#datagrams.dropped,
    };
  }

  /** The next reliable frame that this end expects; a renewed handshake tells it to the peer. */
  get nextExpected(): number {
    return this.#incoming.next;
  }

  /** The id for a stream to `open`. Throws `LIMIT` or `SESSION_CLOSED`. */
  reserveStream(): StreamId {
    if (this.#closed) throw new SallyportError('SESSION_CLOSED', 'the session is closed');
    return this.#mux.reserve();
  }

  handle(input: SessionInput, now: Instant): void {
    if (this.#closed) return;
    this.#now = now;
    this.#apply(input, now);
    this.#incoming.acknowledgeIfDue(now);
  }

  handleTimeout(now: Instant): void {
    if (this.#closed) return;
    const late = now - (this.deadline ?? now);
    this.#now = now;
    if (late > STOOD_STILL_MS) this.#paths.forgive(now);
    for (const path of this.#paths.handleTimeout(now)) this.#closePath(path.info.id, false);
    this.#incoming.acknowledgeIfDue(now);
    this.#checkPathless(now);
    if ((this.#farewell.deadline ?? Infinity) <= now) this.#forceClose(now);
  }

  /** One of the ends has said that it closes. */
  get isClosing(): boolean {
    return this.#farewell.end !== undefined;
  }

  poll(): SessionOutput | undefined {
    if (this.#outputs.length === 0 && !this.#closed) {
      const transmit = this.#nextTransmit();
      if (transmit) return transmit;
      if (this.#bothDone()) this.#finish(this.#farewell.end!, true);
    }
    return this.#outputs.shift();
  }

  #apply(input: SessionInput, now: Instant): void {
    switch (input.type) {
      case 'path-bytes':
        return this.#receive(input.path, input.bytes, now);
      case 'path-written':
        return this.#noteWritten(input.path, input.bytes);
      case 'write':
        return this.#mux.write(input.stream, input.chunks);
      case 'consumed':
        return this.#mux.consumed(input.stream, input.bytes, now, this.#paths.active?.presentRttMs ?? 0);
      case 'open':
        return this.#mux.open(input.stream, input.header);
      case 'end':
        return this.#mux.end(input.stream);
      case 'reset':
        return this.#mux.reset(input.stream, input.code, input.message);
      case 'path-up':
        return this.#addPath(input.path, now);
      case 'path-down':
        return this.#dropPath(input.path, input.reason, now);
      case 'datagram':
        return this.#datagrams.push(input.bytes);
      case 'ping':
        return this.#ping(input.token, input.path, now);
      case 'question':
        return this.#question(input.path, now);
      case 'reconnected':
        return this.#paths.reconnected(now);
      case 'answered':
        return this.#answered(input.path, now);
      case 'keepalive':
        return this.#paths.keepalive(input.everyMs, now);
      case 'epoch':
        this.#epoch = input.epoch;
        return;
      case 'close':
        return this.#close(input, now);
      case 'abort':
        return this.#abort(input.code, input.message);
    }
  }

  // --- paths ---

  #addPath(info: PathInfo, now: Instant): void {
    assert(!this.#paths.get(info.id), 'a path id is used once');
    const path = this.#incoming.attach(info, this.#epoch, now);
    path.ping(false, now);
    this.#paths.add(path, now);
  }

  #dropPath(id: PathId, reason: string, now: Instant): void {
    const path = this.#paths.get(id);
    if (!path) return;
    this.#paths.remove(path, reason, now);
    if (this.#paths.size === 0 && this.#farewell.heard) this.#finish(this.#farewell.end!, true);
  }

  #closePath(id: PathId, graceful: boolean): void {
    this.#outputs.push({ type: 'close-path', path: id, graceful });
  }

  #noteWritten(id: PathId, bytes: number): void {
    const path = this.#paths.get(id);
    if (path) path.room += bytes;
  }

  #checkPathless(now: Instant): void {
    const since = this.#paths.pathlessSince;
    if (since === undefined || now < since + this.#limits.resumeTimeoutMs) return;
    const seconds = Math.round(this.#limits.resumeTimeoutMs / 1000);
    this.#finish(
      { code: 'PEER_LOST', message: `no path to the peer for ${seconds} s`, remote: false },
      false,
    );
  }

  #ping(token: number, id: PathId | undefined, now: Instant): void {
    const path = id === undefined ? this.#paths.active : this.#paths.get(id);
    if (path) path.ping(path === this.#paths.active, now, token);
    else this.#outputs.push({ type: 'pong', token, path: id, rttMs: undefined });
  }

  #question(id: PathId | undefined, now: Instant): void {
    if (id === undefined) return this.#paths.questionAll(now);
    const path = this.#paths.get(id);
    if (path) this.#paths.question(path, now);
  }

  #answered(id: PathId, now: Instant): void {
    const path = this.#paths.get(id);
    if (path) this.#paths.answered(path, now);
  }

  /** A path is left for another before its keys have served for too many records; one of its kind is made in its place. */
  #checkRecords(path: Path): void {
    if (Math.max(path.recordsIn, path.recordsOut) < this.#limits.pathRecords) return;
    this.#closePath(path.info.id, true);
    this.#dropPath(path.info.id, 'its keys have served long enough', this.#now);
  }

  /** A failed attachment ends the path, any other failure the session. */
  #receive(id: PathId, bytes: Uint8Array, now: Instant): void {
    const path = this.#paths.get(id);
    if (!path) return;
    path.bytesIn += bytes.length;
    path.recordsIn += 1;
    try {
      this.#incoming.receive(path, bytes, now);
      this.#checkRecords(path);
    } catch (error) {
      if (!(error instanceof SallyportError)) throw error;
      if (path.confirmed) this.#abort(error.code, error.message);
      else {
        this.#closePath(id, false);
        this.#dropPath(id, error.message, now);
      }
    }
  }

  // --- what goes out ---

  #nextTransmit(): SessionOutput | undefined {
    for (const path of this.#paths) {
      if (path.room <= 0) continue;
      const batch = this.#batch;
      batch.add(path.takeControl());
      const urgent = batch.chunks.length;
      if (path === this.#paths.active) {
        this.#datagrams.addTo(batch, path.room);
        this.#sender.addTo(batch, path, this.#now);
        if (batch.bytes > 0) this.#incoming.acknowledgeAlong(this.#now);
      }
      if (path.ackDue) {
        path.ackDue = false;
        batch.insert(urgent, encodeHeader(FrameType.ACK, 0, 0, this.#incoming.next));
      }
      if (batch.bytes > 0) {
        this.#batch = new Batch();
        return this.#transmit(path, batch);
      }
    }
    return undefined;
  }

  #transmit(path: Path, { chunks, bytes }: Batch): SessionOutput {
    path.room -= bytes;
    path.bytesOut += bytes;
    path.recordsOut += Math.ceil(bytes / TLS_RECORD_BYTES);
    this.#checkRecords(path);
    return { type: 'transmit', path: path.info.id, chunks, bytes };
  }

  /** GOAWAY is the last: after ours there is nothing, after the peer's only ours. */
  #newFrame(sequence: number, frameBytes: (streams: number) => number, room: number): SentFrame | undefined {
    const { said, heard, forced, end } = this.#farewell;
    if (said) return undefined;
    const frame = heard ? undefined : this.#mux.nextFrame(sequence, frameBytes, room);
    if (frame || !end || !(this.#mux.settled || heard || forced)) return frame;
    const { code, message } = this.#farewell.say();
    return goawayFrame(code, message, sequence);
  }

  // --- the end ---

  #close({ code, message = 'the session was closed', ending }: CloseInput, now: Instant): void {
    if (this.#farewell.end) return;
    this.#farewell.begin({ code, message, remote: false }, now);
    this.#mux.refuse('SESSION_CLOSED', message);
    this.#mux.resetAll(code ?? 'SESSION_CLOSED', message, (id, ended) => ended || ending?.has(id) === true);
  }

  #forceClose(now: Instant): void {
    const end = this.#farewell.end!;
    if (this.#paths.size === 0 || !this.#farewell.force(now)) return this.#finish(end, false);
    this.#mux.resetAll(end.code ?? 'SESSION_CLOSED', end.message, () => false);
  }

  #bothDone(): boolean {
    return this.#farewell.heard && this.#farewell.said && this.#sender.unacknowledged === 0;
  }

  #abort(code: ErrorCode, message: string): void {
    const path = this.#paths.active;
    const caughtUp = path !== undefined && this.#sender.isCaughtUp(path);
    // A path that is full takes these few bytes too; a peer that is lost hears nothing, and nobody shall wait for that.
    const canSay = caughtUp && !this.#farewell.said && code !== 'PEER_LOST';
    if (canSay) {
      const batch = new Batch();
      batch.add(path.takeControl());
      batch.add(goawayFrame(code, message, this.#sender.next).chunks);
      this.#outputs.push(this.#transmit(path, batch));
    }
    this.#finish({ code, message, remote: false }, canSay);
  }

  /** Once: where this process stood still, several things that end a session are due together. */
  #finish(end: SessionEnd, graceful: boolean): void {
    if (this.#closed) return;
    for (const path of this.#paths) this.#closePath(path.info.id, graceful);
    this.#outputs.push({ type: 'closed', end });
    this.#closed = true;
    this.#mux.dispose();
    this.#unacknowledged.dispose();
  }
}

type CloseInput = Extract<SessionInput, { type: 'close' }>;

const TLS_RECORD_BYTES = 16 * 1024;
/** A timer this late means that the process was stopped or asleep. */
const STOOD_STILL_MS = 2000;
