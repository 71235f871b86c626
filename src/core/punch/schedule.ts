import type { Instant } from '../machine.ts';
import type { Transport } from './candidate.ts';

/** A transport's search gives up this long after T0, or after it could begin where that is later. */
export const ROUND_MS = 10_000;

/** The same where only local addresses can be tried. */
export const LOCAL_ROUND_MS = 3_000;

/** What comes later than this was kept back by a process that did not run; with less a schedule catches up. */
const LATE_MS = 50;

/** By how much all that follows in a schedule is to be later, of which something was due at `dueAt` and comes only now. */
export function heldUpMs(dueAt: Instant | undefined, now: Instant): number {
  const lateMs = now - (dueAt ?? now);
  return lateMs > LATE_MS ? lateMs : 0;
}

/** What the two ends of a birthday spend. With what else they send in a round, either stays below 2,048. */
export interface BirthdaySize {
  /** That the end with the dependent mapping opens, all aimed at the other's one mapping. */
  readonly sockets: number;
  /** Ports that the other end tries from its one socket. */
  readonly ports: number;
  /** Flows that these make in the other end's own NAT. */
  readonly flows: number;
}

/** A hit in 99.8 of 100 cases, after 251 ports on average. */
export const BIRTHDAY: BirthdaySize = { sockets: 256, ports: 1_650, flows: 1 };

/**
 * Where the NAT has several public addresses, which share the hits: over four of them 97 of 100 cases, after 500 ports
 * on average. The shared socket's flows have room beside these sockets within 512.
 */
export const POOL_BIRTHDAY: BirthdaySize = { sockets: 500, ports: 1_850, flows: 1 };

/** Where each try makes a flow in the trying end's NAT: 97 of 100 cases, after 129 ports on average, and no more than 512 flows at either end. */
export const BIRTHDAY_OF_DEPENDENT: BirthdaySize = { sockets: 500, ports: 500, flows: 500 };

/** Addresses of a pool over which ports are tried. */
export const BIRTHDAY_ADDRESSES = 8;

/** As few still hit in a third of the cases, where that is what is left of the minute. */
export const BIRTHDAY_PROBES_OF_USE = 100;

/** When the many sockets of a birthday send: so many times, so far apart. */
export interface BirthdayRows {
  readonly count: number;
  readonly everyMs: number;
}

/**
 * Over TCP a row dials again what was refused, from the same ports: a NAT that answers strays by RST refuses all that
 * come before the other end has tried their port.
 */
export const BIRTHDAY_ROWS: Record<Transport, BirthdayRows> = {
  udp: { count: 4, everyMs: 1_000 },
  tcp: { count: 7, everyMs: 300 },
};

/** Ports after the sampled one that are aimed at: a NAT in use may have given some to others. */
const PREDICTED_PORTS = 32;

/** The same for the first try over TCP: what a dial leaves in the own NAT refuses the peer's next one from that port. */
const FIRST_PREDICTED_PORTS = 16;

/** @param nth the try, from 0 */
export function predictedPorts(transport: Transport, nth: number): number {
  return transport === 'tcp' && nth === 0 ? FIRST_PREDICTED_PORTS : PREDICTED_PORTS;
}

/** Sockets of each end where both are predicted. */
export const PREDICTION_SOCKETS = 25;

export const PREDICTION_TRIES = 3;

/** From one try to the next; both ends try at the same time. */
export function predictionTryMs(roundTripMs: number): number {
  return Math.max(800, 4 * roundTripMs);
}

/** Probes to an address that nobody vouched for, altogether (`docs/threat-model.md`: a third party gets no more). */
export const UNATTESTED_PROBES = 10;

/** To an attested address, scheduled and triggered ones together, before it answers. */
export const ATTESTED_PROBES = 100;

/** After T0. Dense where easy pairs connect; then a steady beat that outlives heavy loss. */
const ATTESTED_OFFSETS = [0, 20, 50, 100, 200, 400, 800];
const BEAT_MS = 400;

/** After T0, to an address that nobody vouched for: the first at once, since a LAN answers in a millisecond. */
const UNATTESTED_OFFSETS = [0, 100, 200, 400, 800, 1_400, 2_200, 3_200, 4_600, 6_400];

/**
 * After the first contact. An end that has its answer goes on until the other has one too: with 5 % loss one birthday
 * in six was lost by stopping at the first success.
 */
const REPEAT_OFFSETS = [0, 40, 90, 150, 250, 400, 600, 900, 1_300, 1_800, 2_500, 3_500, 5_000];

/** When the `n`th probe (from 0) of a pair is due, in milliseconds after T0; `undefined` when there is none left. */
export function probeOffset(n: number, attested: boolean): number | undefined {
  if (!attested) return UNATTESTED_OFFSETS[n];
  const listed = ATTESTED_OFFSETS[n];
  if (listed !== undefined) return listed;
  const offset = ATTESTED_OFFSETS.at(-1)! + (n - ATTESTED_OFFSETS.length + 1) * BEAT_MS;
  return offset <= ROUND_MS ? offset : undefined;
}

/**
 * When the `n`th repetition is due, in milliseconds after the contact (which is repetition 0); while this end is
 * still `searching` for an answer of its own, it goes on.
 */
export function repeatOffset(n: number, searching: boolean): number | undefined {
  const listed = REPEAT_OFFSETS[n];
  if (listed !== undefined || !searching) return listed;
  return REPEAT_OFFSETS.at(-1)! + (n - REPEAT_OFFSETS.length + 1) * BEAT_MS;
}

/**
 * Up to a tenth of the offset later, at most 20 ms, so that two ends with one schedule don't lose the same moments.
 * @param fraction 0–1, from the caller's source of randomness
 */
export function jittered(offset: number, fraction: number): number {
  return offset + Math.min(20, offset / 10) * fraction;
}

/**
 * How long a silent SYN is left alone; below 2 RTT an attempt kills itself. The kernel repeats what was lost after one
 * second, with the same sequence numbers: a NAT that has seen half of the handshake takes that, and no other SYN.
 */
export function patienceOf(roundTripMs: number): number {
  return Math.max(1_700, 1_000 + 4 * roundTripMs);
}

/**
 * How long a dial of a port search is left alone. Those from the held port go before the kernel would repeat their SYN
 * (after 1 s), unless the way is longer than that; those that wait for the other's aim may repeat it once.
 */
export function shotPatienceOf(roundTripMs: number, held: boolean): number {
  return held ? Math.max(750, 2 * roundTripMs + 100) : Math.max(2_500, 3 * roundTripMs);
}
