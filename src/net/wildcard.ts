import type { Family } from '../core/address.ts';

/** Every address of a family. */
export const WILDCARD: Readonly<Record<Family, string>> = { 4: '0.0.0.0', 6: '::' };
