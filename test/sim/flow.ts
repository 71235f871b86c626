import type { Instant } from '../../src/core/machine.ts';
import type { TcpPacket } from './packet.ts';

/** What a mapping knows about one remote endpoint: that it may answer, until when, and where TCP stands. */
export interface Flow {
  expires: Instant;
  state: TcpFlowState;
  /** A RST was seen: the flow stays on its short timer, even after a later attempt on it succeeds. */
  reset: boolean;
}

/** `syn-sent`: only our own SYN was seen, which is when a NAT may refuse a crossing one. */
type TcpFlowState = 'none' | 'syn-sent' | 'open' | 'closing';

const TCP_TRANSITORY_MS = 240_000;
const TCP_ESTABLISHED_MS = 7_440_000;
const TCP_RESET_MS = 10_000;

/** Follows one TCP packet that is let through, in either direction (RFC 5382 §5, Linux conntrack's timers). */
export function trackTcp(flow: Flow, packet: TcpPacket, outbound: boolean, now: Instant): void {
  if (packet.rst) {
    flow.reset = true;
    flow.state = 'closing';
  } else if (packet.syn) {
    flow.state = outbound && !packet.ack ? 'syn-sent' : 'open';
  } else if (packet.fin) {
    flow.state = 'closing';
  }
  flow.expires = now + tcpLifetime(flow);
}

function tcpLifetime(flow: Flow): number {
  if (flow.reset) return TCP_RESET_MS;
  return flow.state === 'open' ? TCP_ESTABLISHED_MS : TCP_TRANSITORY_MS;
}
