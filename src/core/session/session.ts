import assert from 'node:assert';
import { SallyportError, type ErrorCode } from '../errors.ts';
import type { Instant, Machine } from '../machine.ts';
import { Batch } from './batch.ts';
import { DatagramQueue } from './datagram-queue.ts';
import type {
  PathId,
  PathInfo,
  SessionEnd,
  SessionInput,
  SessionOutput,
  SessionRole,
  StreamId,
} from './events.ts';
import { Farewell } from './farewell.ts';
import { Fifo } from './fifo.ts';
import { encodeHeader, FrameType, isReliable, protocolError, type FrameHeader } from './frame.ts';
import { DEFAULT_LIMITS, PROCESS_WINDOW_BUDGET, type SessionLimits } from './limits.ts';
import { Mux } from './mux.ts';
import { goawayFrame } from './outgoing.ts';
import { PathSet } from './path-set.ts';
import { Path, type PathStats } from './path.ts';
import {
  decodeAttachment,
  decodeGoaway,
  decodeReset,
  decodeWindow,
  encodeAttachment,
  SESSION_ID_BYTES,
} from './payload.ts';
import { SequenceReceiver } from './receiver.ts';
import { ResendBuffer, type SentFrame } from './resend.ts';
import { SequenceSender } from './sender.ts';
import { WindowBudget } from './window.ts';

export interface SessionOptions {
  role: SessionRole;
  /** 16 bytes, the same at both ends. */
  sessionId: Uint8Array;
  /** The handshake that the first paths' keys come from; 0 on a new session. */
  epoch?: number;
  limits?: Partial<SessionLimits>;
  /** Shared by the sessions of a process. */
  budget?: WindowBudget;
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
 */
export class SessionMachine implements Machine<SessionInput, SessionOutput> {
  readonly #role: SessionRole;
  readonly #sessionId: Uint8Array;
  readonly #limits: SessionLimits;
  readonly #outputs = new Fifo<SessionOutput>();
  readonly #sender: SequenceSender;
  readonly #receiver: SequenceReceiver;
  readonly #mux: Mux;
  readonly #paths: PathSet;
  readonly #datagrams: DatagramQueue;
  #epoch: number;
  #now: Instant;
  readonly #farewell: Farewell;
  #closed = false;

  constructor({ role, sessionId, epoch = 0, limits, budget }: SessionOptions, now: Instant) {
    assert(sessionId.length === SESSION_ID_BYTES, 'a session id has 16 bytes');
    this.#role = role;
    this.#sessionId = sessionId;
    this.#epoch = epoch;
    this.#now = now;
    this.#limits = { ...DEFAULT_LIMITS, ...limits };
    this.#farewell = new Farewell(this.#limits.closeTimeoutMs);
    const emit = (output: SessionOutput): void => this.#outputs.push(output);
    const unacknowledged = new ResendBuffer();
    this.#sender = new SequenceSender(this.#limits, unacknowledged, (sequence, quantum) =>
      this.#newFrame(sequence, quantum),
    );
    this.#receiver = new SequenceReceiver(this.#limits);
    this.#datagrams = new DatagramQueue(this.#limits.datagrams);
    this.#paths = new PathSet(unacknowledged, emit, now);
    this.#mux = new Mux({
      role,
      limits: this.#limits,
      budget: budget ?? new WindowBudget(PROCESS_WINDOW_BUDGET),
      emit,
    });
  }

  get deadline(): Instant | undefined {
    if (this.#closed) return undefined;
    const pathless = this.#paths.pathlessSince;
    const first = Math.min(
      this.#paths.deadline,
      this.#receiver.acknowledgeAt ?? Infinity,
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
      framesReceived: this.#receiver.next,
      framesResent: this.#sender.resent,
      datagramsDropped: this.#datagrams.dropped,
    };
  }

  /** The next reliable frame that this end expects; a renewed handshake tells it to the peer. */
  get nextExpected(): number {
    return this.#receiver.next;
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
    this.#acknowledgeIfDue(now);
  }

  handleTimeout(now: Instant): void {
    if (this.#closed) return;
    const late = now - (this.deadline ?? now);
    this.#now = now;
    if (late > STOOD_STILL_MS) this.#paths.forgive(now);
    for (const path of this.#paths.handleTimeout(now)) this.#closePath(path.info.id, false);
    this.#acknowledgeIfDue(now);
    this.#checkPathless(now);
    if ((this.#farewell.deadline ?? Infinity) <= now) this.#forceClose(now);
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
        return this.#mux.consumed(input.stream, input.bytes, now, this.#paths.active?.rttMs ?? 0);
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
        return this.#paths.question(now);
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
    const sink = {
      frame: (header: FrameHeader, payload: Uint8Array) => this.#receiveFrame(path, header, payload),
      data: (header: FrameHeader, offset: number, slice: Uint8Array) =>
        this.#receiveData(path, header, offset, slice),
    };
    const path = new Path({ info, epoch: this.#epoch, room: this.#limits.pathBuffer, sink }, now);
    const attachment = encodeAttachment({ role: this.#role, epoch: this.#epoch, sessionId: this.#sessionId });
    path.queueControl(
      encodeHeader(FrameType.ATTACH, attachment.length, info.id, this.#receiver.next),
      attachment,
    );
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
    if (since === undefined || now - since < this.#limits.resumeTimeoutMs) return;
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

  /** A path is left for another before its keys have served for too many records; one of its kind is made in its place. */
  #checkRecords(path: Path): void {
    if (Math.max(path.recordsIn, path.recordsOut) < this.#limits.pathRecords) return;
    this.#closePath(path.info.id, true);
    this.#dropPath(path.info.id, 'its keys have served long enough', this.#now);
  }

  // --- what arrives ---

  /** A failed attachment ends the path, any other failure the session. */
  #receive(id: PathId, bytes: Uint8Array, now: Instant): void {
    const path = this.#paths.get(id);
    if (!path) return;
    path.bytesIn += bytes.length;
    path.recordsIn += 1;
    try {
      path.decoder.push(bytes);
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

  #receiveData(path: Path, header: FrameHeader, offset: number, slice: Uint8Array): void {
    if (!path.confirmed) throw protocolError('DATA came before ATTACH');
    const { sequence, length } = header;
    if (offset === 0) path.checkOrder(sequence);
    path.carriedReliable = true;
    const fresh = this.#receiver.accept(sequence, offset, slice, length);
    if (fresh) this.#mux.receiveData(header.stream, fresh, this.#now);
    if (offset + slice.length < length) return;
    this.#farewell.progressed(this.#now);
    if (sequence === this.#receiver.next) this.#receiver.complete(length, this.#now);
    else this.#receiver.noteReceived(length, this.#now);
  }

  #receiveFrame(path: Path, header: FrameHeader, payload: Uint8Array): void {
    if (!path.confirmed && header.type !== FrameType.ATTACH)
      throw protocolError('the first frame is not ATTACH');
    if (!isReliable(header.type)) return this.#receiveIdempotent(path, header, payload);
    path.checkOrder(header.sequence);
    path.carriedReliable = true;
    if (header.sequence !== this.#receiver.next) return this.#receiver.noteReceived(header.length, this.#now);
    this.#receiver.complete(header.length, this.#now);
    this.#farewell.progressed(this.#now);
    this.#receiveReliable(header, payload);
  }

  #receiveReliable({ type, stream }: FrameHeader, payload: Uint8Array): void {
    if (this.#farewell.heard) throw protocolError('a reliable frame came after GOAWAY');
    switch (type) {
      case FrameType.OPEN:
        return this.#mux.receiveOpen(stream, payload);
      case FrameType.WINDOW:
        return this.#mux.receiveWindow(stream, decodeWindow(payload));
      case FrameType.FIN:
        return this.#mux.receiveFin(stream);
      case FrameType.RESET:
        return this.#mux.receiveReset(stream, decodeReset(payload));
      case FrameType.GOAWAY:
        return this.#receiveGoaway(payload);
    }
  }

  #receiveIdempotent(path: Path, { type, sequence }: FrameHeader, payload: Uint8Array): void {
    switch (type) {
      case FrameType.ATTACH:
        return this.#receiveAttach(path, sequence, payload);
      case FrameType.ACK:
        return this.#receiveAck(sequence);
      case FrameType.ACTIVE:
        if (sequence > this.#receiver.next) throw protocolError(`ACTIVE skips to frame ${sequence}`);
        path.expected = sequence;
        this.#paths.peerSendsBy(path, this.#now);
        return;
      case FrameType.PING:
        return path.queueControl(encodeHeader(FrameType.PONG, 0, 0, sequence));
      case FrameType.PONG:
        return this.#receivePong(path, sequence);
      case FrameType.DATAGRAM:
        this.#outputs.push({ type: 'datagram', bytes: payload });
        return;
      default: // Reserved for extensions, which must not matter to a peer that does not know them.
    }
  }

  #receiveAttach(path: Path, next: number, payload: Uint8Array): void {
    const { role, epoch, sessionId } = decodeAttachment(payload);
    if (role === this.#role) throw protocolError('ATTACH came back from where it was sent');
    if (epoch !== path.epoch) throw protocolError(`ATTACH names epoch ${epoch}, the path has ${path.epoch}`);
    if (Buffer.compare(sessionId, this.#sessionId) !== 0) throw protocolError('ATTACH names another session');
    this.#receiveAck(next);
    if (!path.confirmed) this.#paths.confirm(path, this.#now);
  }

  #receiveAck(next: number): void {
    const active = this.#paths.active;
    if (!this.#sender.acknowledge(next, active, this.#now)) return;
    this.#farewell.progressed(this.#now);
    if (!active) return;
    active.liveness.progressed(this.#now);
    if (active.suspect) this.#paths.proven(active, this.#now);
  }

  #receivePong(path: Path, id: number): void {
    const ping = path.takePing(id);
    if (!ping) return;
    const rttMs = this.#now - ping.sentAt;
    path.rtt.sample(rttMs);
    path.liveness.ponged(this.#now);
    path.unheardSince = undefined;
    this.#paths.proven(path, this.#now);
    if (ping.token !== undefined) {
      this.#outputs.push({ type: 'pong', token: ping.token, path: path.info.id, rttMs });
    }
  }

  // --- what goes out ---

  /** Acknowledges on the paths that the frames came by and on the one that this end sends on. */
  #acknowledgeIfDue(now: Instant): void {
    const at = this.#receiver.acknowledgeAt;
    if (at !== undefined && at <= now) this.#acknowledge(now);
  }

  #acknowledge(now: Instant): void {
    this.#receiver.acknowledged(now);
    for (const path of this.#paths) {
      if (path.carriedReliable || path === this.#paths.active) path.ackDue = true;
      path.carriedReliable = false;
    }
  }

  #nextTransmit(): SessionOutput | undefined {
    for (const path of this.#paths) {
      if (path.room <= 0) continue;
      const batch = new Batch();
      batch.add(path.takeControl());
      if (path.ackDue) {
        path.ackDue = false;
        batch.add([encodeHeader(FrameType.ACK, 0, 0, this.#receiver.next)]);
      }
      if (path === this.#paths.active) {
        this.#datagrams.fill(batch, path.room);
        this.#sender.fill(batch, path, this.#now);
      }
      if (batch.bytes > 0) return this.#transmit(path, batch);
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
  #newFrame(sequence: number, quantum: number): SentFrame | undefined {
    const { said, heard, end } = this.#farewell;
    if (said) return undefined;
    const frame = heard ? undefined : this.#mux.nextFrame(sequence, quantum);
    if (frame || !end || !(this.#mux.settled || heard)) return frame;
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

  /** The peer has nothing more to say, so neither have we: its streams are all settled, ours find no reader. */
  #receiveGoaway(payload: Uint8Array): void {
    const { code, message } = decodeGoaway(payload);
    this.#farewell.hear({ code, message, remote: true }, this.#now);
    this.#mux.refuse('SESSION_CLOSED', 'the peer has closed the session');
    this.#acknowledge(this.#now);
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
    const canSay = caughtUp && !this.#farewell.said; // a path that is full takes these few bytes too
    if (canSay) {
      const batch = new Batch();
      batch.add(path.takeControl());
      batch.add(goawayFrame(code, message, this.#sender.next).chunks);
      this.#outputs.push(this.#transmit(path, batch));
    }
    this.#finish({ code, message, remote: false }, canSay);
  }

  #finish(end: SessionEnd, graceful: boolean): void {
    for (const path of this.#paths) this.#closePath(path.info.id, graceful);
    this.#outputs.push({ type: 'closed', end });
    this.#closed = true;
    this.#mux.dispose();
  }
}

type CloseInput = Extract<SessionInput, { type: 'close' }>;

const TLS_RECORD_BYTES = 16 * 1024;
/** A timer this late means that the process was stopped or asleep. */
const STOOD_STILL_MS = 2000;
