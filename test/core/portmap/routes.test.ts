import { describe, expect, it } from 'vitest';
import { defaultGatewayIn } from '../../../src/core/portmap/routes.ts';

const HEAD = 'Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT';

/** `/proc/net/route` with these routes: destination, gateway, flags, metric. */
function table(...routes: [string, string, string, number][]): string {
  const lines = routes.map(
    ([destination, gateway, flags, metric]) =>
      `eth0\t${destination}\t${gateway}\t${flags}\t0\t0\t${metric}\t00000000\t0\t0\t0`,
  );
  return [HEAD, ...lines, ''].join('\n');
}

describe('the gateway', () => {
  it('is that of the default route with the least metric', () => {
    const routes = table(
      ['00000000', '0101A8C0', '0003', 600],
      ['00000000', '0102A8C0', '0003', 100],
      ['0001A8C0', '00000000', '0001', 0],
    );
    expect(defaultGatewayIn(routes)).toBe('192.168.2.1');
  });

  it('is not one that leads to some network only, nor that of a route that is down', () => {
    const routes = table(
      ['0000000A', '0101A8C0', '0003', 0],
      ['00000000', '0102A8C0', '0002', 0],
      ['00000000', '0103A8C0', '0003', 100],
    );
    expect(defaultGatewayIn(routes)).toBe('192.168.3.1');
  });

  it('is none without a default route by a gateway', () => {
    expect(defaultGatewayIn(table(['00000000', '00000000', '0001', 0]))).toBe(undefined);
    expect(defaultGatewayIn(HEAD)).toBe(undefined);
    expect(defaultGatewayIn('')).toBe(undefined);
  });
});
