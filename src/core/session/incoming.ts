import assert from 'node:assert';
import type { Instant } from '../machine.ts';
import type { PathInfo, SessionOutput } from './events.ts';
import type { SessionRole } from './role.ts';
import type { Farewell } from './farewell.ts';
import { encodeHeader, FrameType, isReliable, protocolError, type FrameHeader } from './frame.ts';
import type { SessionLimits } from './limits.ts';
import type { Mux } from './mux.ts';
import type { PathSet } from './path-set.ts';
import { Path } from './path.ts';
import {
  decodeAttachment,
  decodeGoaway,
  decodeReset,
  decodeWindow,
  encodeAttachment,
  SESSION_ID_BYTES,
} from './payload.ts';
import { SequenceReceiver } from './receiver.ts';
import type { SequenceSender } from './sender.ts';

export interface IncomingOptions {
  role: SessionRole;
  sessionId: Uint8Array;
  limits: SessionLimits;
  mux: Mux;
  paths: PathSet;
  sender: SequenceSender;
  farewell: Farewell;
  emit: (output: SessionOutput) => void;
}

/**
 * What the peer's frames do, and that it learns of their arrival. On every path ATTACH comes first and says which
 * session, which keys and which end; ACTIVE comes before reliable frames, which then follow one another without a gap.
 * A reliable frame has its effect once, however many paths bring it; the others have theirs each time.
 */
export class Incoming {
  readonly #role: SessionRole;
  readonly #sessionId: Uint8Array;
  readonly #limits: SessionLimits;
  readonly #mux: Mux;
  readonly #paths: PathSet;
  readonly #sender: SequenceSender;
  readonly #farewell: Farewell;
  readonly #emit: (output: SessionOutput) => void;
  readonly #receiver: SequenceReceiver;
  /** When the bytes came that are being read. */
  #now: Instant = 0;

  constructor(options: IncomingOptions) {
    assert(options.sessionId.length === SESSION_ID_BYTES, 'a session id has 16 bytes');
    this.#role = options.role;
    this.#sessionId = options.sessionId;
    this.#limits = options.limits;
    this.#mux = options.mux;
    this.#paths = options.paths;
    this.#sender = options.sender;
    this.#farewell = options.farewell;
    this.#emit = options.emit;
    this.#receiver = new SequenceReceiver(options.limits);
  }

  /** The next reliable frame that this end expects. */
  get next(): number {
    return this.#receiver.next;
  }

  /** When the peer is to hear what has arrived; `undefined` where it knows. */
  get acknowledgeAt(): Instant | undefined {
    return this.#receiver.acknowledgeAt;
  }

  /** A path that begins with our ATTACH, and whose frames are read here. */
  attach(info: PathInfo, epoch: number, now: Instant): Path {
    const sink = {
      frame: (header: FrameHeader, payload: Uint8Array) => this.#receiveFrame(path, header, payload),
      data: (header: FrameHeader, offset: number, slice: Uint8Array) =>
        this.#receiveData(path, header, offset, slice),
    };
    const path = new Path({ info, epoch, room: this.#limits.pathBuffer, sink }, now);
    const attachment = encodeAttachment({ role: this.#role, epoch, sessionId: this.#sessionId });
    path.queueControl(encodeHeader(FrameType.ATTACH, attachment.length, info.id, this.next), attachment);
    return path;
  }

  /** @throws SallyportError `PROTOCOL_ERROR`, after which the path must not be read any more */
  receive(path: Path, bytes: Uint8Array, now: Instant): void {
    this.#now = now;
    path.decoder.push(bytes);
  }

  acknowledgeIfDue(now: Instant): void {
    const at = this.acknowledgeAt;
    if (at !== undefined && at <= now) this.#acknowledge(now);
  }

  /** Something goes out in any case: an acknowledgement that only waits for its interval goes with it. */
  acknowledgeAlong(now: Instant): void {
    if (this.#receiver.unacknowledged >= this.#limits.ackBytes) this.#acknowledge(now);
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
        this.#emit({ type: 'datagram', bytes: payload });
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
    const ping = path.takePing(id, this.#now);
    if (!ping) return;
    const { tokens, rttMs } = ping;
    this.#paths.heard(path, this.#now);
    for (const token of tokens) this.#emit({ type: 'pong', token, path: path.info.id, rttMs });
  }

  /** The peer has nothing more to say, so neither have we: its streams are all settled, ours find no reader. */
  #receiveGoaway(payload: Uint8Array): void {
    const { code, message } = decodeGoaway(payload);
    this.#farewell.hear({ code, message, remote: true }, this.#now);
    this.#mux.refuse('SESSION_CLOSED', 'the peer has closed the session');
    this.#acknowledge(this.#now);
  }

  /** On the paths that the frames came by, and on the one that this end sends on. */
  #acknowledge(now: Instant): void {
    this.#receiver.acknowledged(now);
    for (const path of this.#paths) {
      if (path.carriedReliable || path === this.#paths.active) path.ackDue = true;
      path.carriedReliable = false;
    }
  }
}
