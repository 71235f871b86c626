import { networkInterfaces } from 'node:os';
import { expect, it } from 'vitest';
import { sourceTowards } from '../../peer/source-address.ts';

const hasIPv6 = networkInterfaces()['lo']?.some(({ address }) => address === '::1') ?? false;

it.skipIf(!hasIPv6)(
  'packets to servers are known to leave from an address of each family (needs IPv6)',
  async () => {
    const servers = ['127.0.0.1', '::1'].map((address) => ({ address, port: 3478 }));
    const { signal } = new AbortController();
    expect(await sourceTowards(servers, signal)).toBe('127.0.0.1');
    expect(await sourceTowards(servers, signal, 6)).toBe('::1');
    expect(await sourceTowards(servers.slice(0, 1), signal, 6)).toBeUndefined();
  },
);
