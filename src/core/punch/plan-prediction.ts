import type { TransportProfile } from '../nat/behavior.ts';
import type { SessionRole } from '../session/role.ts';
import type { Transport } from './candidate.ts';
import type { Stage } from './stage.ts';

/**
 * Of one or both ends' next port. With one end predicted a busy NAT does little harm, since its own probe leaves in
 * the same instant as the sample; with both, the samples have to cross the network first, and drift.
 */
export function planPrediction(
  transport: Transport,
  predicted: SessionRole | 'both',
  a: TransportProfile,
  b: TransportProfile,
): Stage {
  const steps = { initiator: stepOf(a), responder: stepOf(b) };
  const probability = predicted === 'both' ? 0.93 : 0.95;
  const cost =
    transport === 'udp' ? ({ packets: 400, seconds: 0.3 } as const) : { packets: 150, seconds: 0.4 };
  return { technique: 'port prediction', transport, predicted, steps, ...cost, probability };
}

function stepOf({ allocation }: TransportProfile): number {
  return allocation.kind === 'sequential' ? allocation.step : 1;
}
