import type { TransportProfile } from '../../../src/core/nat/behavior.ts';
import { isAttested } from '../../../src/core/protocol/attestation.ts';
import { systemClock } from '../../../src/net/clock.ts';
import { hostAddresses } from '../../../src/net/interfaces.ts';
import { NatDiscovery } from '../../../src/net/nat-discovery.ts';
import { UdpSocket } from '../../../src/net/udx.ts';
import { deployment, peer, STUN_KEY, STUN_PORTS } from './shared.ts';

export interface Discovered {
  readonly udp: TransportProfile;
  readonly tcp: TransportProfile;
  /** Transports with an attested candidate. */
  readonly attested: readonly string[];
}

/** Measures by the servers at the addresses given, waits for both verdicts and the surveys, and prints them. */
const servers = process.argv.slice(2).flatMap((address) => STUN_PORTS.map((port) => ({ address, port })));
const open = () => UdpSocket.open({ host: '0.0.0.0', port: 0 });
const datagrams = open();
const discovery = new NatDiscovery({
  datagrams,
  freshDatagrams: () => Promise.resolve(open()),
  stun: { username: 'anyone', key: STUN_KEY, udp: servers, tcp: servers },
  localAddresses: hostAddresses().map(({ address }) => address),
  clock: systemClock,
  surveyAfterMs: 0,
});
const complete = new Set<string>();
await new Promise<void>((resolve) => {
  discovery.on('profile', (transport, _profile, isComplete) => {
    if (isComplete) complete.add(transport);
    if (complete.size === 2 && discovery.profile.tcp.reachable !== undefined) resolve();
  });
  discovery.start();
});
await discovery.surveyed(15_000);
const { udp, tcp } = discovery.profile;
const attested = discovery.candidates
  .filter((candidate) => isAttested(candidate, peer.id, deployment.id, Date.now()))
  .map(({ transport }) => transport);
const discovered: Discovered = { udp, tcp, attested: [...new Set(attested)] };
console.log(JSON.stringify(discovered));
discovery.close();
await datagrams.close();
