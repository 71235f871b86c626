import type { MappingBehavior, PortAllocation } from './behavior.ts';

/**
 * Port allocation (RFC 4787 §4.2) from the external ports that one socket was given, in the order of first use.
 * Three differences can't show a step (a busy NAT fakes any), so a sequential NAT is said to step by one.
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
