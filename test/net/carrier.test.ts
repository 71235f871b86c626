import { TLSSocket } from 'node:tls';
import { expect, it } from 'vitest';
import { Carrier } from '../../src/net/carrier.ts';
import { systemClock } from '../../src/net/clock.ts';
import { deferred } from '../../src/net/deferred.ts';
import { tcpPair } from './pipes.ts';

it('what TLS does not take ends the path, with a reason of one plain line', async () => {
  const pair = await tcpPair();
  const down = deferred<string>();
  const tls = new TLSSocket(pair.far, { isServer: true });
  const events = { bytes: () => {}, written: () => {}, down: (reason: string) => down.resolve(reason) };
  const carrier = new Carrier(tls, events);
  pair.near.write('bytes that a relay has put in');
  expect(await down.promise).toMatch(/^the carrier failed: [a-z ]+$/);
  carrier.close(false, systemClock);
  pair.near.destroy();
  await pair.close();
});
