import * as v from 'valibot';
import { abortSignal, optionsOf } from '../src/core/check-options.ts';
import { serverOptions } from '../src/net/server-options.ts';
import type { CircuitsLimits } from './circuit-events.ts';

const limit = v.optional(v.number());
const limits = {
  circuits: limit,
  legsPerPeer: limit,
  waitingLegsPerPeer: limit,
  waitingLegMs: limit,
  idleMs: limit,
  openingsPerSecond: limit,
  openingsBurst: limit,
  circuitBytesPerSecond: limit,
  peerBytesPerSecond: limit,
} satisfies Record<keyof CircuitsLimits, typeof limit>;

export const relayOptions = optionsOf({
  ...serverOptions,
  rendezvous: v.string(),
  limits: v.optional(optionsOf(limits)),
  signal: v.optional(abortSignal),
});
