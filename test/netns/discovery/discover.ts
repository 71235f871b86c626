import type { TransportProfile } from '../../../src/core/nat/behavior.ts';
import { isAttested } from '../../../src/core/protocol/attestation.ts';
import type { Transport } from '../../../src/core/punch/candidate.ts';
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
  /** From the start until each transport's diagnosis was complete, milliseconds. */
  readonly completeMs: Readonly<Record<Transport, number>>;
}

/** Measures so often by the servers at the addresses given, on new sockets each time, and prints a line for each. */
const [runs, ...addresses] = process.argv.slice(2);
const servers = addresses.flatMap((address) => STUN_PORTS.map((port) => ({ address, port })));
const open = async (port = 0) => UdpSocket.open({ host: '0.0.0.0', port });

for (let run = 0; run < Number(runs); run++) console.log(JSON.stringify(await discover(`run ${run}`)));

/** @param username what the server knows the run by: it counts the dials that it makes for each */
async function discover(username: string): Promise<Discovered> {
  const datagrams = await open();
  const discovery = new NatDiscovery({
    datagrams,
    freshDatagrams: open,
    stun: { username, key: STUN_KEY, udp: servers, tcp: servers },
    localAddresses: hostAddresses().map(({ address }) => address),
    clock: systemClock,
    surveyAfterMs: 0,
  });
  const completeMs = await diagnosed(discovery);
  await discovery.surveyed(15_000);
  const { udp, tcp } = discovery.profile;
  const attested = discovery.candidates
    .filter((candidate) => isAttested(candidate, peer.id, deployment.id, Date.now()))
    .map(({ transport }) => transport);
  discovery.close();
  await datagrams.close();
  return { udp, tcp, attested: [...new Set(attested)], completeMs };
}

function diagnosed(discovery: NatDiscovery): Promise<Discovered['completeMs']> {
  const began = performance.now();
  const completeMs: Partial<Record<Transport, number>> = {};
  return new Promise((resolve) => {
    discovery.on('profile', (transport, _profile, isComplete) => {
      if (isComplete) completeMs[transport] ??= Math.round(performance.now() - began);
      const { udp, tcp } = completeMs;
      if (udp !== undefined && tcp !== undefined) resolve({ udp, tcp });
    });
    discovery.start();
  });
}
