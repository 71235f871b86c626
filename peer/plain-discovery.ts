import { SallyportError } from '../src/core/errors.ts';
import { UNMEASURED, type NatProfile } from '../src/core/nat/behavior.ts';
import { systemClock } from '../src/net/clock.ts';
import { hostAddresses } from '../src/net/interfaces.ts';
import { NatDiscovery } from '../src/net/nat-discovery.ts';
import { findStunServers } from '../src/net/stun-servers.ts';
import { UdpSocket } from '../src/net/udx.ts';
import type { NatMeasurement } from './nat-report.ts';
import { sourceTowards } from './source-address.ts';

export interface MeasureOptions {
  readonly timeoutMs: number;
  /** Waits for the lifetime of idle mappings, too. */
  readonly lifetime: boolean;
  readonly signal: AbortSignal;
}

/**
 * Measures by anybody's STUN servers, `host:port` each, without a rendezvous.
 * @throws SallyportError `USAGE`, `TIMEOUT`
 */
export async function measureByStun(
  named: readonly string[],
  { timeoutMs, lifetime, signal }: MeasureOptions,
): Promise<NatMeasurement> {
  const clock = systemClock;
  const openFresh = async (port = 0) => UdpSocket.open({ host: '0.0.0.0', port });
  const stun = await findStunServers(named, { openFresh, clock });
  const datagrams = await openFresh();
  const discovery = new NatDiscovery({
    datagrams,
    freshDatagrams: openFresh,
    stun,
    localAddresses: hostAddresses().map(({ address }) => address),
    clock,
    surveyAfterMs: 0,
  });
  try {
    discovery.start();
    await discovery.surveyed(timeoutMs, signal);
    signal.throwIfAborted();
    const { udp, tcp } = discovery.profile;
    if (udp.reachable !== true && tcp.reachable !== true) throw noAnswer(named);
    if (lifetime && stun.canChangeOrigin) await discovery.lifetimeMeasured(signal);
    signal.throwIfAborted();
    const { diagnosis } = discovery;
    return {
      tookMs: diagnosis && diagnosis.ended - diagnosis.began,
      profile: withoutGuesses(discovery.profile),
      stun: discovery.servers,
      source: await sourceTowards(discovery.servers.udp, signal),
      servers: named.join(', '),
      proxy: false,
      portMapping: null,
      notes: limitsOf(stun.canChangeOrigin, discovery.profile),
    };
  } finally {
    discovery.close();
    await datagrams.close();
  }
}

function noAnswer(named: readonly string[]): SallyportError {
  return new SallyportError('TIMEOUT', `no STUN server answers at ${named.join(', ')}`, {
    hint: 'check host and port, and whether this network lets UDP out',
  });
}

/** A server for UDP alone refuses TCP: that says nothing of the network. */
function withoutGuesses(profile: NatProfile): NatProfile {
  return profile.tcp.reachable === false ? { ...profile, tcp: UNMEASURED } : profile;
}

function limitsOf(canChangeOrigin: boolean, { udp, tcp }: NatProfile): string[] {
  const limits = [];
  if (!canChangeOrigin && udp.reachable === true) {
    limits.push(
      'filtering is unknown: none of these servers has OTHER-ADDRESS (RFC 5780), so none can answer from elsewhere',
    );
  }
  limits.push(
    tcp.reachable === true
      ? 'filtering and strays for TCP need a rendezvous, which dials back'
      : 'nothing is known for TCP: these servers do not answer STUN over TCP',
  );
  return limits;
}
