import type { MappingBehavior, PortAllocation } from './behavior.ts';

/**
 * Port allocation (RFC 4787 §4.2) from the external ports that one socket was given, in the order of first use.
 * Three differences can't show a step (a busy NAT fakes any), so a sequential NAT is said to step by one until
 * `judgeSamples` knows better.
 */
export function judgeAllocation(
  externalPorts: readonly number[],
  localPort: number,
  mapping: MappingBehavior,
): PortAllocation {
  if (mapping === 'none') return { kind: 'preserving' };
  if (mapping === 'unknown' || externalPorts.length === 0) return { kind: 'unknown' };
  if (externalPorts.every((port) => port === localPort)) return { kind: 'preserving' };
  return mapping === 'endpoint-independent' ? { kind: 'unknown' } : fromSeries([...new Set(externalPorts)]);
}

/** What one fresh socket was given. */
export interface PortSample {
  readonly localPort: number;
  readonly externalPort: number;
}

/**
 * Port allocation from fresh sockets, in the order in which they were first used, all within one round trip. Ports that
 * were kept although others were not are no part of the series: some NATs keep a port where it is free.
 */
export function judgeSamples(samples: readonly PortSample[]): PortAllocation {
  if (samples.length < LEAST_SAMPLES) return { kind: 'unknown' };
  const chosen = samples.filter(({ localPort, externalPort }) => localPort !== externalPort);
  if (chosen.length === 0) return { kind: 'preserving' };
  if (chosen.length < LEAST_SAMPLES) return { kind: 'unknown' };
  const ports = unwrapped(chosen.map(({ externalPort }) => externalPort));
  const ascending = ports.toSorted((a, b) => a - b);
  const deltas = ascending.slice(1).map((port, i) => port - ascending[i]!);
  const rising = ports.slice(1).filter((port, i) => port > ports[i]!).length;
  const isOrdered = rising <= MOST_OUT_OF_ORDER || rising >= ports.length - 1 - MOST_OUT_OF_ORDER;
  if (isOrdered && deltas.every((delta) => delta <= LARGEST_DELTA)) {
    const step = deltas.reduce(greatestCommonDivisor);
    return step === 0
      ? { kind: 'unknown' }
      : { kind: 'sequential', step: rising > deltas.length / 2 ? step : -step };
  }
  const span = ascending.at(-1)! - ascending[0]!;
  return !isOrdered || span > LARGEST_BUSY_SPAN ? { kind: 'random' } : { kind: 'unknown' };
}

/** A counter that has passed the end of its range in the middle of the series goes on above it. */
function unwrapped(ports: readonly number[]): number[] {
  const isSplit = Math.max(...ports) - Math.min(...ports) > PORTS / 2;
  const low = ports.filter((port) => port < PORTS / 4);
  const high = ports.filter((port) => port > (3 * PORTS) / 4);
  if (!isSplit || low.length + high.length < ports.length) return [...ports];
  return ports.map((port) => (port < PORTS / 2 ? port + PORTS - FIRST_DYNAMIC_PORT : port));
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

function fromSeries(ports: number[]): PortAllocation {
  if (ports.length < 2) return { kind: 'unknown' };
  const span = Math.max(...ports) - Math.min(...ports);
  if (span <= LARGEST_SEQUENTIAL_STEP * (ports.length - 1)) {
    return { kind: 'sequential', step: ports.at(-1)! > ports[0]! ? 1 : -1 };
  }
  return span > LARGEST_BUSY_SPAN ? { kind: 'random' } : { kind: 'unknown' };
}

/** Two random ports lie this close in one case of two thousand. */
const LARGEST_SEQUENTIAL_STEP = 16;
/** What even a busy sequential NAT does not skip within one discovery. */
const LARGEST_BUSY_SPAN = 512;

/** Six ports make five differences: fewer can't show a step. */
const LEAST_SAMPLES = 6;
/** Packets of one burst may overtake one another, or be lost and come again. */
const MOST_OUT_OF_ORDER = 1;
/** What one mapping is away from the next at most, other hosts' mappings included. */
const LARGEST_DELTA = 64;
const PORTS = 65_536;
const FIRST_DYNAMIC_PORT = 1_024;
