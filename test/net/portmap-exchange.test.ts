import { expect, test } from 'vitest';
import { exchange, localAddressTowards } from '../../src/net/portmap/exchange.ts';

/** No socket may send there unasked, in whatever network: as with a router that no route leads to any more. */
const NO_WAY_THERE = '255.255.255.255';
const { signal } = new AbortController();

test('a router that no route leads to can not be asked', async () => {
  const asked = exchange({
    gateway: NO_WAY_THERE,
    port: 5351,
    request: Uint8Array.of(0, 0),
    read: (bytes) => bytes,
    signal,
  });
  await expect(asked).rejects.toMatchObject({ code: 'UNSUPPORTED' });
});

test('a router that is given up as soon as it is to be asked is not waited for', async () => {
  const givingUp = new AbortController();
  const asked = exchange({
    gateway: '127.0.0.1',
    port: 9,
    request: Uint8Array.of(0, 0),
    read: (bytes) => bytes,
    signal: givingUp.signal,
  });
  givingUp.abort();
  await expect(asked).rejects.toMatchObject({ code: 'ABORTED' });
});

test('no address of this host leads to it either', async () => {
  await expect(localAddressTowards(NO_WAY_THERE, signal)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
});
