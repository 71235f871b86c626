import { StunServer } from '../../../src/net/stun-server.ts';
import { deployment, peer, STUN_KEY, STUN_PORTS } from './shared.ts';

/** Serves STUN on the addresses given until it is killed; says so in one line. */
const [primary = '', alternate] = process.argv.slice(2);
await StunServer.start({
  addresses: [primary, alternate],
  ports: STUN_PORTS,
  deployment,
  lookup: () => ({ peer: peer.id, key: STUN_KEY }),
  now: Date.now,
});
console.log('listening');
