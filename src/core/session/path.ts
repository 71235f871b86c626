import type { Instant } from '../machine.ts';
import { FrameDecoder, type FrameSink } from './decoder.ts';
import { BulkMeter } from './bulk-meter.ts';
import { DeliveryRate } from './delivery-rate.ts';
import type { PathInfo } from './events.ts';
import { encodeHeader, FrameType, MAX_FRAME_PAYLOAD, protocolError } from './frame.ts';
import { Liveness, type PathLoad } from './liveness.ts';
import type { SentFrame } from './resend.ts';
import { RoundTrip } from './rtt.ts';
import type { SelectablePath } from './selector.ts';

/** What a path has carried, and how well. */
export interface PathStats {
  readonly path: PathInfo;
  readonly active: boolean;
  readonly confirmed: boolean;
  readonly rttMs: number | undefined;
  readonly leastRttMs: number | undefined;
  /** Bytes per second. */
  readonly rate: number | undefined;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

export interface PathOptions {
  info: PathInfo;
  epoch: number;
  /** Bytes that may be handed over before any is reported written. */
  room: number;
  sink: FrameSink;
}

interface OutstandingPing {
  sentAt: Instant;
  /** Of the `ping` input that asked for it. */
  token: number | undefined;
}

/** One path: what arrives on it, what waits for it, and what is known of its speed and health. */
export class Path {
  readonly info: PathInfo;
  /** Of the keys that it was attached with. */
  readonly epoch: number;
  readonly decoder: FrameDecoder;
  readonly liveness: Liveness;
  readonly rtt = new RoundTrip();
  readonly rate = new DeliveryRate();
  readonly bulk = new BulkMeter();
  /** Acknowledgement delays, queues included; what death under load is judged by. */
  readonly loadedRtt = new RoundTrip();
  /** Bytes that may still be handed over before some are reported written. */
  room: number;
  /** The peer's ATTACH came: the path works both ways. */
  confirmed = false;
  /** No sign of life for too long; not given up only because it is the last. */
  suspect = false;
  /** When it was asked because the sending path had fallen silent; `undefined` once it has answered. */
  unheardSince: Instant | undefined;
  /** More waits to be sent than the path may take now: its delivery rate is its own, not the sender's. */
  busy = false;
  /** The next reliable frame to send here, while this is the sending path. */
  cursor = 0;
  /** ACTIVE must precede the next reliable frame: none was sent here yet, or acknowledgements overtook the cursor. */
  activeDue = false;
  /** Bytes of reliable frames sent here since activation and not acknowledged. */
  inFlight = 0;
  /** The reliable frame that must come next here; `undefined` before ACTIVE. */
  expected: number | undefined;
  /** Reliable frames came by this path since the last acknowledgement. */
  carriedReliable = false;
  /** An ACK is owed here. */
  ackDue = false;
  bytesIn = 0;
  bytesOut = 0;
  /** TLS records of up to 16 KiB, estimated. */
  recordsIn = 0;
  recordsOut = 0;
  #control: Uint8Array[] = [];
  readonly #pings = new Map<number, OutstandingPing>();
  #nextPing = 0;

  constructor({ info, epoch, room, sink }: PathOptions, now: Instant) {
    this.info = info;
    this.epoch = epoch;
    this.room = room;
    this.decoder = new FrameDecoder(sink);
    this.liveness = new Liveness(now);
  }

  get rttMs(): number | undefined {
    return this.rtt.smoothed ?? this.info.rttMs;
  }

  get selectable(): SelectablePath {
    const { id, kind, direct, lan = false, ipv6 = false } = this.info;
    return { id, kind, direct, lan, ipv6, rttMs: this.rtt.least ?? this.info.rttMs };
  }

  /** Payload bytes for the next frame: over 4 KiB only where a frame leaves within 100 ms. */
  get quantum(): number {
    const rate = this.rate.bytesPerMs;
    if (rate === undefined) return SMALL_FRAME;
    return Math.min(MAX_FRAME_PAYLOAD, Math.max(SMALL_FRAME, Math.floor(rate * FRAME_MS)));
  }

  /**
   * Bytes that may be in flight: two and a half round trips' worth at the measured rate, and what comes until acknowledgements go
   * out. More would only stand in queues on the way, where it delays every other stream and the acknowledgements that
   * the peer waits for. While the rate still grows it is three round trips', so that the carrier sets the pace.
   */
  get inFlightLimit(): number {
    const gain = this.rate.growing ? 3 : 2.5;
    const span = gain * (this.rtt.least ?? 0) + ACKNOWLEDGE_MS;
    return Math.max(INITIAL_IN_FLIGHT, (this.rate.bytesPerMs ?? 0) * span);
  }

  load(active: boolean, oldestFrameBytes: number): PathLoad {
    const rttMs = Math.max(this.rttMs ?? 0, this.loadedRtt.smoothed ?? 0);
    return {
      active,
      inFlight: active ? this.inFlight : 0,
      oldestFrameBytes,
      rttMs,
      bytesPerMs: this.rate.provenBytesPerMs,
    };
  }

  /** Queues an idempotent frame. A peer that asks for more answers than the path carries loses some. */
  queueControl(...chunks: Uint8Array[]): void {
    if (this.#control.length < MAX_CONTROL_CHUNKS) this.#control.push(...chunks);
  }

  /** The array is the caller's to add to. */
  takeControl(): Uint8Array[] {
    const control = this.#control;
    this.#control = [];
    return control;
  }

  /** This end sends its reliable frames here from `first` on. */
  activate(first: number, now: Instant): void {
    this.cursor = first;
    this.inFlight = 0;
    this.activeDue = true;
    this.liveness.activated(now);
  }

  /** Frames below `next` have arrived, maybe by another path: they need not be sent here any more. */
  skipTo(next: number): void {
    if (next <= this.cursor) return;
    this.cursor = next;
    this.activeDue = true;
  }

  noteSent(frame: SentFrame, now: Instant): void {
    if (this.inFlight === 0) this.liveness.restarted(now);
    this.rate.depart(frame, now, this.inFlight === 0);
    this.cursor += 1;
    this.inFlight += frame.bytes;
  }

  /** A frame sent here was acknowledged. */
  noteDelivered(frame: SentFrame, now: Instant): void {
    this.inFlight -= frame.bytes;
    this.rate.deliver(frame.bytes);
    this.bulk.add(frame.bytes, now);
  }

  /** The newest of the frames sent here that one acknowledgement covered. */
  noteProgress(newest: SentFrame, now: Instant): void {
    this.rate.sample(newest, now, this.busy);
    this.loadedRtt.sample(now - newest.sentAt);
  }

  ping(active: boolean, now: Instant, token?: number): void {
    this.liveness.pinged(now, active);
    const id = this.#nextPing++;
    if (this.#pings.size >= MAX_OUTSTANDING_PINGS) this.#dropOldestPing();
    this.#pings.set(id, { sentAt: now, token });
    this.queueControl(encodeHeader(FrameType.PING, 0, 0, id));
  }

  /** The PING that a PONG answers; `undefined` where it answers none. */
  takePing(id: number): OutstandingPing | undefined {
    const ping = this.#pings.get(id);
    this.#pings.delete(id);
    return ping;
  }

  /** Tokens of `ping` inputs that will get no answer any more. */
  *unansweredTokens(): Generator<number> {
    for (const { token } of this.#pings.values()) if (token !== undefined) yield token;
  }

  /** Reliable frames follow one another on a path, from the number that ACTIVE named. */
  checkOrder(sequence: number): void {
    if (sequence !== this.expected) {
      throw protocolError(`frame ${sequence} came where ${this.expected ?? 'ACTIVE'} was due`);
    }
    this.expected += 1;
  }

  stats(active: boolean): PathStats {
    const rate = this.rate.bytesPerMs;
    return {
      path: this.info,
      active,
      confirmed: this.confirmed,
      rttMs: this.rttMs,
      leastRttMs: this.rtt.least,
      rate: rate === undefined ? undefined : rate * 1000,
      bytesIn: this.bytesIn,
      bytesOut: this.bytesOut,
    };
  }

  #dropOldestPing(): void {
    for (const [id, { token }] of this.#pings) {
      if (token !== undefined) continue;
      this.#pings.delete(id);
      return;
    }
  }
}

const SMALL_FRAME = 4096;
const FRAME_MS = 100;
const ACKNOWLEDGE_MS = 50;
const INITIAL_IN_FLIGHT = 32 * 1024;
const MAX_CONTROL_CHUNKS = 64;
const MAX_OUTSTANDING_PINGS = 32;
