/**
 * The router that the default route leads to, from Linux's `/proc/net/route`; `undefined` where there is none.
 * ```
 *  Iface  Destination  Gateway   Flags  RefCnt  Use  Metric  Mask  …      (addresses: hexadecimal, host byte order)
 * ```
 */
export function defaultGatewayIn(table: string): string | undefined {
  const routes = table
    .split('\n')
    .slice(1)
    .map((line) => line.split('\t').map((field) => field.trim()))
    .filter(([, destination, gateway, flags]) => isDefault(destination, gateway, flags))
    .toSorted((a, b) => Number(a[6]) - Number(b[6]));
  const gateway = routes[0]?.[2];
  return gateway && Buffer.from(gateway, 'hex').toReversed().join('.');
}

function isDefault(destination = '', gateway = '', flags = '0'): boolean {
  const isUpGateway = (parseInt(flags, 16) & UP_GATEWAY) === UP_GATEWAY;
  return destination === '00000000' && /^[0-9A-F]{8}$/i.test(gateway) && isUpGateway;
}

/** RTF_UP and RTF_GATEWAY. */
const UP_GATEWAY = 3;
