import type { Endpoint } from '../../src/core/endpoint.ts';
import type { Instant } from '../../src/core/machine.ts';
import type { Timer } from './clock.ts';
import type { Host } from './host.ts';
import { DEFAULT_TTL, isBareSyn, NO_PAYLOAD, resetFor, sequenceLength, type TcpPacket } from './packet.ts';

/** The codes that Node gives, by its rules as measured. */
export type TcpErrorCode =
  'ECONNREFUSED' | 'ECONNRESET' | 'ETIMEDOUT' | 'EADDRINUSE' | 'EADDRNOTAVAIL' | 'ENETUNREACH';

/** RFC 9293 §3.3.2, with the closing states told apart by `#finSent` and `#finReceived`. */
type State = 'closed' | 'syn-sent' | 'syn-received' | 'established';

type Flags = Partial<Pick<TcpPacket, 'syn' | 'ack' | 'fin' | 'rst'>>;

/** When an unanswered SYN or SYN-ACK is sent again, after the first: Linux's doubling from 1 s. */
const SYN_TIMES_MS: readonly number[] = [1_000, 3_000, 7_000, 15_000, 31_000, 63_000];
const SYN_TIMEOUT_MS = 127_000;
const LARGEST_SEGMENT = 16 * 1024;
const LEAST_RETRANSMISSION_MS = 200;
const RETRANSMISSIONS = 12;

/**
 * One TCP connection: handshake with simultaneous open (RFC 9293 §3.5), reliable ordered bytes, half-close, reset.
 * No windows and no congestion control: what is written leaves at once.
 */
export class TcpConnection {
  readonly local: Endpoint;
  readonly remote: Endpoint;
  /** Bound explicitly before connecting, so that its port may be shared. */
  readonly bound: boolean;
  onConnect: (() => void) | undefined;
  onData: ((bytes: Uint8Array) => void) | undefined;
  /** The other end has finished writing. */
  onEnd: (() => void) | undefined;
  onError: ((code: TcpErrorCode) => void) | undefined;
  /** Set by the stack: the 4-tuple is free again. */
  onForget: (() => void) | undefined;
  readonly #host: Host;
  #state: State = 'closed';
  #passive = false;
  #destroyed = false;
  #finSent = false;
  #finReceived = false;
  /** The next sequence number to send, and the first that is not acknowledged (SND.NXT, SND.UNA). */
  #sendNext: number;
  #unacknowledged: number;
  #receiveNext = 0;
  readonly #initial: number;
  #openedAt: Instant = 0;
  #synTransmissions = 0;
  /** Written before the handshake was done. */
  #pending: Uint8Array[] = [];
  readonly #inFlight: TcpPacket[] = [];
  readonly #outOfOrder = new Map<number, TcpPacket>();
  #timer: Timer | undefined;
  #retransmissionMs = LEAST_RETRANSMISSION_MS;
  #retransmissions = 0;
  #endRequested = false;

  constructor(host: Host, local: Endpoint, remote: Endpoint, bound: boolean) {
    this.#host = host;
    this.local = local;
    this.remote = remote;
    this.bound = bound;
    this.#initial = host.random.integer(1, 0x7fff_ffff);
    this.#sendNext = this.#initial;
    this.#unacknowledged = this.#initial;
  }

  get connected(): boolean {
    return this.#state === 'established' && !this.#destroyed;
  }

  /** Destroyed by its owner, and only kept until the FINs are through: a new connection may take its place. */
  get lingering(): boolean {
    return this.#destroyed;
  }

  /** Active open: sends the SYN. */
  open(): void {
    this.#openedAt = this.#host.now;
    this.#state = 'syn-sent';
    this.#sendNext = this.#initial + 1;
    this.#sendSyn();
  }

  /** Passive open, on a listener's SYN; `onAccepted` when the handshake is done. */
  accept(syn: TcpPacket, onAccepted: () => void): void {
    this.#openedAt = this.#host.now;
    this.#passive = true;
    this.onConnect = onAccepted;
    this.#state = 'syn-received';
    this.#sendNext = this.#initial + 1;
    this.#receiveNext = syn.sequence + 1;
    this.#sendSyn();
  }

  write(bytes: Uint8Array): void {
    if (this.#destroyed || this.#endRequested) return;
    if (this.#state !== 'established') return void this.#pending.push(bytes);
    for (let start = 0; start < bytes.length; start += LARGEST_SEGMENT) {
      this.#transmit({ ack: true }, bytes.subarray(start, start + LARGEST_SEGMENT));
    }
  }

  /** Half-close: no more is written, what was written still arrives. */
  end(): void {
    this.#endRequested = true;
    if (this.#state !== 'established' || this.#finSent) return;
    this.#finSent = true;
    this.#transmit({ ack: true, fin: true }, NO_PAYLOAD);
  }

  /** Drops the socket: silent in SYN-SENT, as Linux is; a FIN once connected, and a RST to whoever sends on. */
  destroy(): void {
    if (this.#destroyed) return;
    this.#mute();
    if (this.#state !== 'established') return this.forget();
    this.end();
    this.#forgetWhenFinished();
  }

  /** Aborts with a RST. */
  reset(): void {
    this.#mute();
    if (this.#state === 'established' || this.#state === 'syn-received')
      this.#send({ rst: true, ack: true }, this.#sendNext);
    this.forget();
  }

  /** Ends with an error, told in an event of its own. */
  fail(code: TcpErrorCode): void {
    const isSilent = this.#destroyed || (this.#passive && this.#state === 'syn-received');
    this.forget();
    if (isSilent) return;
    this.#host.at(this.#host.now, () => {
      if (this.#destroyed) return;
      this.#destroyed = true;
      this.onError?.(code);
    });
  }

  /** Lets go of timers and of the 4-tuple. */
  forget(): void {
    this.#timer?.cancel();
    this.#state = 'closed';
    this.onForget?.();
    this.onForget = undefined;
  }

  receive(packet: TcpPacket): void {
    if (packet.rst) return this.#receiveReset(packet);
    if (this.#state === 'syn-sent') return this.#receiveInSynSent(packet);
    if (packet.syn) return this.#receiveSynAgain(packet);
    if (this.#state === 'syn-received' && packet.ack && packet.acknowledgement === this.#sendNext) {
      this.#establish();
    }
    if (this.#state !== 'established') return;
    if (packet.ack) this.#acknowledge(packet.acknowledgement);
    if (sequenceLength(packet) > 0) this.#receiveBytes(packet);
  }

  /** In SYN-SENT a RST counts if it acknowledges our SYN, later if its sequence is the next (RFC 9293 §3.5.3). */
  #receiveReset(packet: TcpPacket): void {
    if (this.#state === 'syn-sent') {
      if (packet.ack && packet.acknowledgement === this.#sendNext) this.fail('ECONNREFUSED');
      return;
    }
    if (packet.sequence === this.#receiveNext) this.fail('ECONNRESET');
  }

  #receiveInSynSent(packet: TcpPacket): void {
    if (packet.ack && packet.acknowledgement !== this.#sendNext) {
      const reset = resetFor(packet, this.#host.name);
      return reset && this.#host.send(reset);
    }
    if (!packet.syn) return;
    this.#receiveNext = packet.sequence + 1;
    if (packet.ack) {
      this.#establish();
      return this.#acknowledgeNow();
    }
    this.#state = 'syn-received';
    this.#send({ syn: true, ack: true }, this.#initial);
  }

  /** The SYN-ACK of a simultaneous open, or a SYN or SYN-ACK whose answer was lost. */
  #receiveSynAgain(packet: TcpPacket): void {
    if (packet.sequence + 1 !== this.#receiveNext && this.#state === 'syn-received') return;
    if (isBareSyn(packet)) {
      if (this.#state === 'syn-received') this.#send({ syn: true, ack: true }, this.#initial);
      else this.#acknowledgeNow();
      return;
    }
    if (this.#state === 'syn-received' && packet.acknowledgement === this.#sendNext) this.#establish();
    this.#acknowledgeNow();
  }

  #establish(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#state = 'established';
    this.#unacknowledged = this.#initial + 1;
    this.#retransmissionMs = LEAST_RETRANSMISSION_MS + 2 * Math.min(1000, this.#host.now - this.#openedAt);
    this.onConnect?.();
    const pending = this.#pending;
    this.#pending = [];
    const endRequested = this.#endRequested;
    this.#endRequested = false;
    for (const bytes of pending) this.write(bytes);
    if (endRequested) this.end();
  }

  #receiveBytes(packet: TcpPacket): void {
    if (this.#destroyed && packet.payload.length > 0) return this.reset();
    this.#outOfOrder.set(packet.sequence, packet);
    for (let next = this.#takeNext(); next !== undefined; next = this.#takeNext()) {
      this.#receiveNext += sequenceLength(next);
      if (next.payload.length > 0) this.onData?.(next.payload);
      if (next.fin && !this.#finReceived) {
        this.#finReceived = true;
        this.onEnd?.();
      }
    }
    if (packet.sequence < this.#receiveNext) this.#outOfOrder.delete(packet.sequence);
    if (this.#state !== 'established') return;
    this.#acknowledgeNow();
    this.#forgetWhenFinished();
  }

  #takeNext(): TcpPacket | undefined {
    const next = this.#outOfOrder.get(this.#receiveNext);
    this.#outOfOrder.delete(this.#receiveNext);
    return this.#state === 'established' ? next : undefined;
  }

  #acknowledge(acknowledgement: number): void {
    if (acknowledgement <= this.#unacknowledged) return;
    this.#unacknowledged = acknowledgement;
    const open = this.#inFlight.findIndex((sent) => sent.sequence + sequenceLength(sent) > acknowledgement);
    this.#inFlight.splice(0, open < 0 ? this.#inFlight.length : open);
    this.#retransmissions = 0;
    this.#armRetransmission();
    this.#forgetWhenFinished();
  }

  /** Both directions are closed and acknowledged. TIME-WAIT is not modelled: the 4-tuple is free at once. */
  #forgetWhenFinished(): void {
    if (this.#finSent && this.#finReceived && this.#inFlight.length === 0) this.forget();
  }

  #transmit(flags: Flags, payload: Uint8Array): void {
    const packet = this.#send(flags, this.#sendNext, payload);
    this.#sendNext += sequenceLength(packet);
    this.#inFlight.push(packet);
    if (this.#timer === undefined) this.#armRetransmission();
  }

  #armRetransmission(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#inFlight.length === 0) return;
    const wait = this.#retransmissionMs * 2 ** this.#retransmissions;
    this.#timer = this.#host.at(this.#host.now + wait, () => this.#retransmit());
  }

  #retransmit(): void {
    if (++this.#retransmissions > RETRANSMISSIONS) return this.fail('ETIMEDOUT');
    for (const { fin, sequence, payload } of this.#inFlight)
      this.#send({ ack: true, fin }, sequence, payload);
    this.#armRetransmission();
  }

  #sendSyn(): void {
    this.#send({ syn: true, ack: this.#state === 'syn-received' }, this.#initial);
    const wait = SYN_TIMES_MS[this.#synTransmissions++];
    this.#timer = this.#host.at(this.#openedAt + (wait ?? SYN_TIMEOUT_MS), () =>
      wait === undefined ? this.fail('ETIMEDOUT') : this.#sendSyn(),
    );
  }

  #acknowledgeNow(): void {
    this.#send({ ack: true }, this.#sendNext);
  }

  #send(flags: Flags, sequence: number, payload = NO_PAYLOAD): TcpPacket {
    const packet: TcpPacket = {
      protocol: 'tcp',
      source: this.local,
      destination: this.remote,
      ttl: DEFAULT_TTL,
      origin: this.#host.name,
      syn: flags.syn ?? false,
      ack: flags.ack ?? false,
      fin: flags.fin ?? false,
      rst: flags.rst ?? false,
      sequence,
      acknowledgement: flags.ack ? this.#receiveNext : 0,
      payload,
    };
    this.#host.send(packet);
    return packet;
  }

  #mute(): void {
    this.#destroyed = true;
    this.onConnect = this.onData = this.onEnd = this.onError = undefined;
  }
}
