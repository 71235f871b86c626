export type SideName = 'a' | 'b';

/** The public hosts; the rendezvous has two addresses, as NAT discovery asks for (RFC 5780). */
export const SERVERS = {
  rendezvous: ['203.0.113.1', '203.0.113.2'],
  relay: ['203.0.113.3'],
  proxy: ['203.0.113.4'],
} as const;

export const SERVER_GATEWAY = '203.0.113.254';

/** Over IPv6 (RFC 3849): one address of the rendezvous, and a /48 for each side. */
export const SERVER_IPV6 = { address: '2001:db8:ffff::1', gateway: '2001:db8:ffff::fe' } as const;
export const SIDE_IPV6: Record<SideName, string> = { a: '2001:db8:a', b: '2001:db8:b' };

interface SideAddresses {
  readonly lan: string;
  readonly access: {
    readonly network: string;
    readonly isp: string;
    readonly nat: string;
    /** What a NAT with a pool has beside `nat`; a NAT whose address changes gets the first one. */
    readonly others: readonly [string, string, string];
  };
  readonly open: { readonly network: string; readonly router: string; readonly host: string };
  /** Outer address of a NAT that maps ports on request: miniupnpd refuses documentation addresses as not public. */
  readonly portMapping: string;
  readonly carrier: { readonly router: string; readonly nat: string };
  readonly uplink: { readonly core: string; readonly isp: string };
}

export const ADDRESSES: Record<SideName, SideAddresses> = {
  a: {
    lan: '192.168.1',
    access: {
      network: '198.51.100.8/29',
      isp: '198.51.100.9',
      nat: '198.51.100.10',
      others: ['198.51.100.11', '198.51.100.12', '198.51.100.13'],
    },
    open: { network: '198.51.100.64/29', router: '198.51.100.65', host: '198.51.100.66' },
    portMapping: '44.128.1.1', // AMPRNet's test network: public by number, routed nowhere
    carrier: { router: '100.64.1.1', nat: '100.64.1.2' },
    uplink: { core: '192.0.2.1', isp: '192.0.2.2' },
  },
  b: {
    lan: '192.168.2',
    access: {
      network: '198.51.100.16/29',
      isp: '198.51.100.17',
      nat: '198.51.100.20',
      others: ['198.51.100.19', '198.51.100.21', '198.51.100.22'],
    },
    open: { network: '198.51.100.72/29', router: '198.51.100.73', host: '198.51.100.74' },
    portMapping: '44.128.2.1',
    carrier: { router: '100.64.2.1', nat: '100.64.2.2' },
    uplink: { core: '192.0.2.5', isp: '192.0.2.6' },
  },
};
