import assert from 'node:assert';
import { ZERO } from '../zero.ts';
import { SallyportError, type ErrorCode } from '../errors.ts';
import type { Instant } from '../machine.ts';
import type { SessionOutput, StreamId } from './events.ts';
import type { SessionRole } from './role.ts';
import { MAX_OPEN_HEADER, protocolError } from './frame.ts';
import type { SessionLimits } from './limits.ts';
import { nextControlFrame, nextDataFrame, windowFrame } from './outgoing.ts';
import type { Reset } from './payload.ts';
import type { SentFrame } from './resend.ts';
import { Scheduler } from './scheduler.ts';
import type { SendBudget } from './send-budget.ts';
import { StreamState } from './stream.ts';
import { ReceiveWindow, type WindowBudget } from './window.ts';

export interface MuxOptions {
  role: SessionRole;
  limits: SessionLimits;
  budget: WindowBudget;
  sendBudget: SendBudget;
  emit: (output: SessionOutput) => void;
}

/**
 * The streams of a session: what the user asks of them, what the peer says of them, and the next reliable frame.
 * Frames are made only when a path has room, so whatever still waits can be merged or dropped.
 */
export class Mux {
  readonly #limits: SessionLimits;
  readonly #budget: WindowBudget;
  readonly #sendBudget: SendBudget;
  readonly #emit: (output: SessionOutput) => void;
  readonly #scheduler = new Scheduler();
  readonly #streams = new Map<StreamId, StreamState>();
  /** The session's own window, over all streams. */
  readonly #receive: ReceiveWindow;
  #sent = ZERO;
  #sendLimit = ZERO;
  /** Bytes in the send queues. */
  #queued = 0;
  #nextLocalId: StreamId;
  #lastRemoteId: StreamId;
  #localCount = 0;
  #unsettled = 0;
  /** Why streams are no longer taken, once the session closes. */
  #refusal: { code: ErrorCode; message: string } | undefined;

  constructor({ role, limits, budget, sendBudget, emit }: MuxOptions) {
    this.#limits = limits;
    this.#budget = budget;
    this.#sendBudget = sendBudget;
    this.#emit = emit;
    this.#receive = new ReceiveWindow(limits.initialSessionWindow, limits.maxSessionWindow, budget);
    budget.reserve(limits.initialSessionWindow, true);
    this.#sendLimit = limits.initialSessionWindow;
    this.#nextLocalId = role === 'initiator' ? 1 : 2;
    this.#lastRemoteId = role === 'initiator' ? 0 : -1;
  }

  /** Streams in the table: unsettled, or settled with bytes that nobody has read yet. */
  get size(): number {
    return this.#streams.size;
  }

  /** Every stream has ended in both directions. */
  get settled(): boolean {
    return this.#unsettled === 0;
  }

  /** Bytes received and not consumed, over all streams. */
  get unread(): number {
    return this.#receive.unread;
  }

  /** Bytes of DATA that the session's window still allows. */
  get sendCredit(): number {
    return this.#sendLimit - this.#sent;
  }

  get receiveWindowSize(): number {
    return this.#receive.size;
  }

  /** Gives the session's share of the process budgets back. */
  dispose(): void {
    this.#budget.release(this.#receive.size);
    this.#sendBudget.release(this.#queued);
  }

  /** The id of the next stream to open. Throws `LIMIT` or `SESSION_CLOSED`. */
  reserve(): StreamId {
    if (this.#refusal) throw new SallyportError('SESSION_CLOSED', this.#refusal.message);
    if (this.#localCount >= this.#limits.streams) throw tooManyStreams(this.#limits.streams);
    const stream = new StreamState(this.#nextLocalId, true, this.#limits);
    this.#nextLocalId += 2;
    this.#add(stream);
    return stream.id;
  }

  open(id: StreamId, header: Uint8Array): void {
    assert(header.length <= MAX_OPEN_HEADER, 'a stream header has at most 16 KiB');
    const stream = this.#streams.get(id);
    if (!stream) return;
    stream.openHeader = header;
    this.#scheduler.schedule(stream);
  }

  write(id: StreamId, chunks: readonly Uint8Array[]): void {
    const stream = this.#streams.get(id);
    if (!stream || stream.endRequested || stream.resetRequested || stream.sendClosed) return;
    const before = stream.queue.bytes;
    for (const chunk of chunks) stream.queue.push(chunk);
    this.#queue(stream.queue.bytes - before);
    stream.awaitsDrain = true;
    this.#scheduler.schedule(stream);
    this.#signalDrain(stream);
  }

  end(id: StreamId): void {
    const stream = this.#streams.get(id);
    if (!stream) return;
    stream.endRequested = true;
    this.#scheduler.schedule(stream);
  }

  reset(id: StreamId, code: ErrorCode, message: string): void {
    const stream = this.#streams.get(id);
    if (!stream) return;
    this.#clearQueue(stream);
    this.#discard(stream);
    if (stream.openHeader !== undefined) this.#forgetUnopened(stream);
    if (stream.settled || stream.resetSent || stream.resetRequested) return this.#settle(stream);
    stream.resetRequested = { code, message };
    this.#scheduler.schedule(stream);
  }

  consumed(id: StreamId, bytes: number, now: Instant, rttMs: number): void {
    const stream = this.#streams.get(id);
    if (!stream || stream.discards) return;
    stream.receive.consume(bytes, now, rttMs);
    this.#receive.consume(bytes, now, rttMs);
    this.#scheduler.schedule(stream);
    this.#settle(stream);
  }

  /** Takes no more streams; the peer's are refused with this. */
  refuse(code: ErrorCode, message: string): void {
    this.#refusal ??= { code, message };
  }

  /** Resets the streams that neither have settled nor are spared. */
  resetAll(code: ErrorCode, message: string, spared: (id: StreamId, ended: boolean) => boolean): void {
    for (const stream of this.#streams.values()) {
      if (!stream.settled && !spared(stream.id, stream.endRequested)) this.reset(stream.id, code, message);
    }
  }

  receiveOpen(id: StreamId, header: Uint8Array): void {
    if (id % 2 === this.#nextLocalId % 2 || id <= this.#lastRemoteId) {
      throw protocolError(`it opened stream ${id} after ${this.#lastRemoteId}`);
    }
    this.#lastRemoteId = id;
    const remoteCount = this.#streams.size - this.#localCount;
    if (remoteCount >= 2 * this.#limits.streams) throw tooManyStreams(this.#limits.streams);
    this.#add(new StreamState(id, false, this.#limits));
    if (this.#refusal) this.reset(id, this.#refusal.code, this.#refusal.message);
    else if (remoteCount >= this.#limits.streams) {
      this.reset(id, 'LIMIT', `${this.#limits.streams} streams are open in this session`);
    } else this.#emit({ type: 'opened', stream: id, header: header.slice() });
  }

  /** `bytes` may be a part of a DATA frame's payload. */
  receiveData(id: StreamId, bytes: Uint8Array, now: Instant): void {
    const stream = this.#receivable(id, 'DATA');
    stream.receive.receive(bytes.length, now);
    this.#receive.receive(bytes.length, now);
    // Readers that stand still may fill their streams' windows, but not the session's: the others go on.
    if (2 * this.#receive.unread > this.#receive.size) this.#receive.grow();
    if (stream.discards) this.#discard(stream);
    else this.#emit({ type: 'data', stream: id, bytes });
  }

  receiveFin(id: StreamId): void {
    const stream = this.#receivable(id, 'FIN');
    stream.finReceived = true;
    if (stream.sendClosed) stream.resetRequested = undefined;
    if (!stream.discards) this.#emit({ type: 'ended', stream: id });
    this.#settle(stream);
  }

  receiveReset(id: StreamId, { finalOffset, code, message }: Reset): void {
    const stream = this.#known(id);
    if (!stream) return;
    if (stream.resetReceived) throw protocolError(`stream ${id} was reset twice`);
    if (finalOffset !== stream.receive.received)
      throw protocolError(`stream ${id} was reset at a wrong offset`);
    const afterEnd = stream.finReceived;
    const abandoned = stream.discards;
    stream.resetReceived = true;
    this.#clearQueue(stream);
    if (!afterEnd) this.#discard(stream);
    stream.resetRequested = stream.sendClosed ? undefined : (stream.resetRequested ?? { code, message: '' });
    if (!abandoned)
      this.#emit({ type: 'reset', stream: id, code: code ?? 'STREAM_RESET', message, afterEnd });
    this.#scheduler.schedule(stream);
    this.#settle(stream);
  }

  receiveWindow(id: StreamId, limit: number): void {
    if (id === 0) {
      this.#sendLimit = Math.max(this.#sendLimit, limit);
      return;
    }
    const stream = this.#known(id);
    if (!stream) return;
    stream.sendLimit = Math.max(stream.sendLimit, limit);
    this.#scheduler.schedule(stream);
  }

  /**
   * The next reliable frame; `undefined` where nothing may be sent.
   * @param frameBytes what it may have of data, where so many streams wait, and
   * @param room in any case
   */
  nextFrame(sequence: number, frameBytes: (streams: number) => number, room: number): SentFrame | undefined {
    if (this.#receive.due) return windowFrame(0, this.#receive.grant(), sequence);
    const urgent = this.#scheduler.takeControl();
    if (urgent) {
      const finWasDue = urgent.finDue;
      const frame = nextControlFrame(urgent, sequence);
      if (finWasDue && urgent.finSent) this.#emit({ type: 'finished', stream: urgent.id });
      this.#scheduler.schedule(urgent);
      this.#settle(urgent);
      return frame;
    }
    const max = Math.min(frameBytes(this.#scheduler.waiting), this.sendCredit, room);
    const stream = max > 0 ? this.#scheduler.takeData() : undefined;
    if (!stream) return undefined;
    const before = stream.sent;
    const frame = nextDataFrame(stream, sequence, max);
    this.#sent += stream.sent - before;
    this.#unqueue(stream.sent - before);
    this.#scheduler.schedule(stream);
    this.#signalDrain(stream);
    return frame;
  }

  #add(stream: StreamState): void {
    this.#streams.set(stream.id, stream);
    this.#unsettled += 1;
    if (stream.local) this.#localCount += 1;
  }

  /** Once settled, the session no longer waits for it; once also read, it leaves the table. */
  #settle(stream: StreamState): void {
    if (!stream.settled) return;
    if (stream.counted) {
      stream.counted = false;
      this.#unsettled -= 1;
    }
    if (stream.receive.unread > 0 || !this.#streams.delete(stream.id)) return;
    if (stream.local) this.#localCount -= 1;
  }

  /** The peer never hears of a stream that is reset before its OPEN went out. */
  #forgetUnopened(stream: StreamState): void {
    stream.openHeader = undefined;
    stream.finSent = true;
    stream.finReceived = true;
  }

  /** What was received and not read counts as consumed, now and later, so that the session's credit returns. */
  #discard(stream: StreamState): void {
    stream.discards = true;
    const unread = stream.receive.unread;
    if (unread === 0) return;
    stream.receive.discard(unread);
    this.#receive.discard(unread);
  }

  #queue(bytes: number): void {
    this.#queued += bytes;
    this.#sendBudget.hold(bytes);
  }

  #unqueue(bytes: number): void {
    this.#queued -= bytes;
    this.#sendBudget.release(bytes);
  }

  #clearQueue({ queue }: StreamState): void {
    this.#unqueue(queue.bytes);
    queue.clear();
  }

  #signalDrain(stream: StreamState): void {
    const { sendLowWater, sendBuffer } = this.#limits;
    const lowWater = this.#queued < Math.min(sendBuffer, this.#sendBudget.left) ? sendLowWater : 0;
    if (!stream.awaitsDrain || stream.queue.bytes > lowWater) return;
    stream.awaitsDrain = false;
    this.#emit({ type: 'drained', stream: stream.id });
  }

  #receivable(id: StreamId, what: string): StreamState {
    const stream = this.#streams.get(id);
    if (!stream || stream.receiveClosed) throw protocolError(`${what} on stream ${id}, which is not open`);
    return stream;
  }

  /** `undefined` for a stream that has settled; throws for one that never was. */
  #known(id: StreamId): StreamState | undefined {
    const stream = this.#streams.get(id);
    const remote = id % 2 !== this.#nextLocalId % 2;
    if (!stream && (remote ? id > this.#lastRemoteId : id >= this.#nextLocalId)) {
      throw protocolError(`stream ${id} was never opened`);
    }
    return stream;
  }
}

function tooManyStreams(limit: number): SallyportError {
  return new SallyportError('LIMIT', `${limit} streams are open in this session`, {
    hint: 'close some, or open another session',
  });
}
