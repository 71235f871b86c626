import { ZERO } from '../zero.ts';
import type { Instant } from '../machine.ts';
import { AckGaps } from './ack-gaps.ts';
import { BaseRoundTrip } from './base-rtt.ts';
import { FrameDecoder, type FrameSink } from './decoder.ts';
import { BulkMeter } from './bulk-meter.ts';
import { DeliveryRate } from './delivery-rate.ts';
import type { PathInfo } from './events.ts';
import { encodeHeader, FrameType, MAX_FRAME_PAYLOAD, protocolError } from './frame.ts';
import { Liveness, type PathLoad } from './liveness.ts';
import type { SentFrame } from './resend.ts';
import { RoundTrip } from './rtt.ts';
import type { SelectablePath } from './selector.ts';
import { Standstill } from './standstill.ts';

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
  /** Of the `ping` inputs that it is for; none where the path asks for itself. */
  readonly tokens: number[];
  /** So little was in flight that it stood in no queue of ours. */
  undisturbed: boolean;
}

/** One path: what arrives on it, what waits for it, and what is known of its speed and health. */
export class Path {
  readonly info: PathInfo;
  /** Of the keys that it was attached with. */
  readonly epoch: number;
  readonly decoder: FrameDecoder;
  readonly liveness: Liveness;
  readonly rtt = new RoundTrip();
  /** What the bound of what is in flight follows. */
  readonly baseRtt = new BaseRoundTrip();
  readonly ackGaps = new AckGaps();
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
  /** When the peer last answered in its stream: that then flowed both ways. */
  heardAt: Instant = -Infinity;
  /** When it was asked because the sending path had fallen silent; `Infinity` once it has answered. */
  unheardSince: Instant = Infinity;
  /** More waits to be sent than the path may take now: its delivery rate is its own, not the sender's. */
  busy = false;
  /** The next reliable frame to send here, while this is the sending path. */
  cursor = 0;
  /** ACTIVE must precede the next reliable frame: none was sent here yet, or acknowledgements overtook the cursor. */
  activeDue = false;
  /** Bytes of reliable frames sent here since activation and not acknowledged. */
  inFlight = 0;
  /** Little is sent until then, so that a PING finds out how long the round trip is without our own queue. `Infinity`: no pause. */
  #pausedUntil: Instant = Infinity;
  /** That PING is on its way. */
  #pauseAsked = false;
  /** The reliable frame that must come next here; `undefined` before ACTIVE. */
  expected: number | undefined;
  /** Reliable frames came by this path since the last acknowledgement. */
  carriedReliable = false;
  /** An ACK is owed here. */
  ackDue = false;
  bytesIn = ZERO;
  bytesOut = ZERO;
  /** TLS records of up to 16 KiB, estimated. */
  recordsIn = 0;
  recordsOut = 0;
  /** Frames below went out on an earlier path too, … */
  #resentBelow = 0;
  /** … which still brings them. */
  #besideAnother = false;
  readonly #standstill = new Standstill();
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

  /** Queues on the way included: what a window has to last for. Pings are rare, so a smoothed value would be late. */
  get presentRttMs(): number {
    return Math.max(this.rttMs ?? 0, this.rtt.latest ?? 0);
  }

  get selectable(): SelectablePath {
    const { id, kind, direct, lan = false, ipv6 = false } = this.info;
    return { id, kind, direct, lan, ipv6, rttMs: this.rtt.least ?? this.info.rttMs };
  }

  /**
   * Payload bytes for the next frame where so many streams wait to send. A round of them all takes about 10 ms, so that
   * whoever comes with a few bytes doesn't wait long for its turn; but frames that leave in less than 0.1 ms cost more than that is worth.
   */
  readonly frameBytes = (streams: number): number => {
    const rate = this.rate.bytesPerMs;
    if (rate === undefined) return SMALL_FRAME;
    const bytes = Math.floor(rate * Math.max(ROUND_MS / Math.max(1, streams), LEAST_FRAME_MS));
    return Math.min(MAX_FRAME_PAYLOAD, Math.max(SMALL_FRAME, bytes));
  };

  /**
   * Bytes that may be in flight: one and a quarter round trips' worth at the measured rate, and that of the time for which
   * acknowledgements may stay away. More would only stand in queues on the way, where it delays every other stream and the
   * acknowledgements that the peer waits for. While the rate still grows it is three round trips', so that it
   * can double in each even where lost packets hold up acknowledgements for one more.
   */
  get inFlightLimit(): number {
    if (this.#paused) return this.#pauseBytes;
    return Math.max(INITIAL_IN_FLIGHT, (this.rate.bytesPerMs ?? 0) * this.#inFlightMs);
  }

  get #paused(): boolean {
    return this.#pausedUntil < Infinity;
  }

  /** What an empty link carries without any queue. */
  get #pauseBytes(): number {
    return PAUSE_GAIN * (this.rate.bytesPerMs ?? 0) * (this.baseRtt.least ?? 0);
  }

  /** Milliseconds that what may be in flight takes to leave. */
  get #inFlightMs(): number {
    const gain = this.rate.growing ? GROWTH_GAIN : STEADY_GAIN;
    const baseMs = this.baseRtt.ms ?? 0;
    const most = MOST_GAP_MS + 2 * baseMs;
    return gain * baseMs + Math.max(ACKNOWLEDGE_MS, Math.min(this.ackGaps.ms, most));
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

  takeControl(): readonly Uint8Array[] {
    const control = this.#control;
    if (control.length > 0) this.#control = [];
    return control;
  }

  /**
   * This end sends its reliable frames here from `first` on, of which those below `next` went out on an earlier path already.
   * @param beside that path, which still brings them
   */
  activate(first: number, next: number, beside: boolean, now: Instant): void {
    this.cursor = first;
    this.#resentBelow = next;
    this.#besideAnother = beside;
    this.inFlight = 0;
    this.activeDue = true;
    this.#pausedUntil = Infinity;
    this.liveness.activated(now);
  }

  /** Frames below `next` have arrived, maybe by another path: they need not be sent here any more. */
  skipTo(next: number): void {
    if (next <= this.cursor) return;
    this.cursor = next;
    this.activeDue = true;
  }

  noteSent(frame: SentFrame, now: Instant): void {
    if (this.inFlight === 0) {
      this.liveness.restarted(now);
      this.ackGaps.restart(now);
    }
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
  noteProgress(newest: SentFrame, sequence: number, now: Instant): void {
    if (this.liveness.doubted) this.#standstill.ended(now);
    if (sequence >= this.#resentBelow) this.liveness.flows();
    if (!this.#cameByAnother(newest, sequence, now)) {
      this.rate.sample(newest, now, this.busy);
      if (!this.#standstill.heldUp(newest.sentAt)) this.loadedRtt.sample(now - newest.sentAt);
      this.ackGaps.note(newest, now, this.busy && !this.rate.growing && !this.#paused);
    }
    this.#considerPause(now);
  }

  /**
   * What was sent twice gives no sample (RFC 6298 §3, Karn's algorithm) while the peer may have it from the earlier path: taken for
   * this path's, what that one had under way would be a rate of many times its own. From a path that has failed nothing comes later
   * than the first answer on this one.
   */
  #cameByAnother({ sentAt }: SentFrame, sequence: number, now: Instant): boolean {
    if (sequence >= this.#resentBelow) return false;
    return this.#besideAnother || now - sentAt < (this.rtt.least ?? this.info.rttMs ?? Infinity);
  }

  ping(active: boolean, now: Instant, token?: number): void {
    if (token !== undefined && this.#shareLatestPing(token)) return;
    this.liveness.pinged(now, active);
    const id = this.#nextPing++;
    if (this.#pings.size >= MAX_OUTSTANDING_PINGS) this.#dropOldestPing();
    const tokens = token === undefined ? [] : [token];
    const undisturbed = this.inFlight <= this.#pauseBytes;
    this.#pings.set(id, { sentAt: now, tokens, undisturbed });
    this.queueControl(encodeHeader(FrameType.PING, 0, 0, id));
  }

  /** Whether its stream flows: one PING, which the carrier repeats until it is there. */
  ask(now: Instant): void {
    if (this.#pings.size === 0) this.ping(false, now);
  }

  /** The PING that a PONG answers, and how long that took; `undefined` where it answers none. */
  takePing(id: number, now: Instant): { tokens: readonly number[]; rttMs: number } | undefined {
    const ping = this.#pings.get(id);
    if (!ping) return undefined;
    this.#pings.delete(id);
    const rttMs = now - ping.sentAt;
    this.#noteAnswer(ping, rttMs, now);
    if (ping.undisturbed) this.#endPause(now);
    return { tokens: ping.tokens, rttMs };
  }

  /** Tokens of `ping` inputs that will get no answer any more. */
  *unansweredTokens(): Generator<number> {
    for (const { tokens } of this.#pings.values()) yield* tokens;
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
      bytesIn: this.bytesIn + 0,
      bytesOut: this.bytesOut + 0,
    };
  }

  /**
   * Where the path delivers less than it did, the link has become slower, or others fill a queue on the way. Without knowing of that queue, this end would leave ever more of the link to them, so it stops for as long as it
   * takes to measure (BBR's ProbeRTT, §4.3.4.4, which does so every 10 s whatever happens).
   */
  #considerPause(now: Instant): void {
    if (!this.#paused) {
      const doubtful = this.busy && !this.rate.growing && (this.rate.fallen || this.baseRtt.raised);
      if (!doubtful || !this.baseRtt.isStale(now)) return;
      this.#pausedUntil = now + MAX_PAUSE_MS;
      this.#pauseAsked = false;
    }
    if (now >= this.#pausedUntil) this.#endPause(now);
    else if (!this.#pauseAsked && this.inFlight <= this.#pauseBytes) {
      this.#pauseAsked = true;
      this.ping(true, now);
    }
  }

  #endPause(now: Instant): void {
    if (!this.#paused) return;
    this.#pausedUntil = Infinity;
    this.ackGaps.restart(now);
  }

  #noteAnswer({ sentAt, undisturbed }: OutstandingPing, rttMs: number, now: Instant): void {
    if (this.#standstill.heldUp(sentAt)) return;
    if (this.#standstill.suspects(rttMs, this.rttMs ?? 0, now)) return this.liveness.pingSoon(now);
    this.rtt.sample(rttMs);
    this.baseRtt.sample(rttMs, undisturbed, now);
  }

  /** Where as many are on their way as there may be, the last one's answer is for whoever asks for more. */
  #shareLatestPing(token: number): boolean {
    if (this.#pings.size < MAX_OUTSTANDING_PINGS) return false;
    [...this.#pings.values()].at(-1)!.tokens.push(token);
    return true;
  }

  #dropOldestPing(): void {
    for (const [id, { tokens }] of this.#pings) {
      if (tokens.length > 0) continue;
      this.#pings.delete(id);
      return;
    }
  }
}

const SMALL_FRAME = 4096;
const ROUND_MS = 10;
const LEAST_FRAME_MS = 0.1;
const STEADY_GAIN = 1.25;
const GROWTH_GAIN = 3;
/** The peer's delay, and a little for the turns of two event loops. */
const ACKNOWLEDGE_MS = 30;
/** Beside two round trips, in which a carrier repeats what was lost. */
const MOST_GAP_MS = 100;
const PAUSE_GAIN = 0.75;
/** Should the PING go under, the path goes on all the same. */
const MAX_PAUSE_MS = 2000;
const INITIAL_IN_FLIGHT = 32 * 1024;
const MAX_CONTROL_CHUNKS = 64;
/** Answered all at once they fit into what the peer lets wait. */
const MAX_OUTSTANDING_PINGS = 32;
