import type { SessionRole } from '../session/role.ts';
import type { Transport } from './candidate.ts';
import type { BirthdaySize } from './schedule.ts';

/** The names that people are shown. */
export type Technique = Stage['technique'];

/**
 * One thing that two peers try. `packets`: at most this many from either end; `seconds`: how long it takes where it
 * works; `probability` that it does.
 */
export type Stage = {
  /** Over IPv6. The others are over IPv4, local addresses over both. */
  readonly ipv6?: true;
  readonly packets: number;
  readonly seconds: number;
  readonly probability: number;
} & (
  | { readonly technique: 'local addresses'; readonly transport: Transport }
  /** The router in front of `towards` leads a port there, so the other end sends or dials it. */
  | {
      readonly technique: 'mapped port';
      readonly transport: Transport;
      readonly towards: SessionRole | 'both';
    }
  | { readonly technique: 'simultaneous probes'; readonly transport: 'udp' }
  /** `first` sends to the other's mapping, which sees where that came from and answers there. */
  | { readonly technique: 'peer-reflexive answer'; readonly transport: 'udp'; readonly first: SessionRole }
  /** `many` opens many sockets towards the other's one mapping, and the other looks for one of their ports. */
  | ({
      readonly technique: 'birthday';
      readonly transport: Transport;
      readonly many: SessionRole;
    } & BirthdaySize)
  /** Of `predicted` end's NAT; `steps`: what each end's NAT adds from one mapping to the next. */
  | {
      readonly technique: 'port prediction';
      readonly transport: Transport;
      readonly predicted: SessionRole | 'both';
      readonly steps: Readonly<Record<SessionRole, number>>;
    }
  | {
      readonly technique: 'direct dial' | 'reversed dial';
      readonly transport: 'tcp';
      readonly dialer: SessionRole;
    }
  /** Where nothing crosses, it goes on as 'connect then listen', with the ends taking turns. */
  | { readonly technique: 'simultaneous open'; readonly transport: 'tcp' }
  /** `listener` dials the other once, which opens its own NAT's filter, and then listens on the same port. */
  | {
      readonly technique: 'connect then listen';
      readonly transport: 'tcp';
      readonly listener: SessionRole;
    }
);
