import { randomInt } from 'node:crypto';

/**
 * A local port from below the ranges that systems choose from by themselves (RFC 6335 §6; Linux begins at 32768), for
 * tests that need one which has contacted nobody: a NAT may remember for minutes whom an earlier socket on the same
 * port had contacted, and lets them in.
 */
export function quietPort(): number {
  return randomInt(FIRST, BEYOND);
}

const FIRST = 20_000;
const BEYOND = 32_000;
