import { syncBuiltinESMExports } from 'node:module';
import os from 'node:os';
import { describe, expect, it, vi } from 'vitest';
import { natReport } from '../../peer/nat-report.ts';
import { natReportWords } from '../../peer/nat-words.ts';
import { UNMEASURED, type NatProfile, type TransportProfile } from '../../src/core/nat/behavior.ts';

const measured: TransportProfile = {
  ...UNMEASURED,
  reachable: true,
  provisional: false,
  mapping: 'endpoint-independent',
  filtering: 'address-and-port-dependent',
  allocation: { kind: 'preserving' },
  publicAddresses: ['198.51.100.10'],
};
const symmetric: TransportProfile = {
  ...measured,
  mapping: 'address-and-port-dependent',
  allocation: { kind: 'random' },
};
const open: TransportProfile = { ...measured, mapping: 'none', filtering: 'none' };
const blocked: TransportProfile = { ...UNMEASURED, reachable: false };
const firewall: TransportProfile = { ...measured, mapping: 'none' };

function words(profile: Omit<NatProfile, 'version'>, source = '192.168.1.2'): string {
  const measurement = {
    profile: { version: 1, ...profile },
    stun: { udp: [], tcp: [] },
    source,
    servers: 'https://rendezvous.example',
    proxy: false,
    portMapping: null,
    notes: [],
    tookMs: 700,
  };
  return natReportWords(natReport(measurement));
}

/** What follows the kind of the remote NAT. */
function outcome(text: string, remote: string): string | undefined {
  const line = text.split('\n').find((each) => each.startsWith(`  ${remote} `));
  return line?.slice(remote.length + 2).trim();
}

describe('what `peer nat` says', () => {
  it('names each transport’s NAT, or that there is none, or that nothing gets out', () => {
    const first = (udp: TransportProfile, tcp: TransportProfile) => words({ udp, tcp }).split('\n')[0];
    expect(first(measured, symmetric)).toMatch(
      /^For UDP: a "port-restricted cone" NAT .* TCP: a "symmetric" NAT \(/,
    );
    expect(first(blocked, open)).toMatch(/^For UDP: blocked \(95 % sure\)\. For TCP: open, no NAT \(/);
    expect(first(UNMEASURED, measured)).toMatch(/^For UDP: not measured\. /);
  });

  it('says what each behaviour means, and nothing about what was not measured', () => {
    const text = words({ udp: symmetric, tcp: blocked });
    expect(text).toMatch(/mapping: +address-and-port-dependent: another outer port for each destination/);
    expect(text).toMatch(/ports: +random: .* have to search/);
    expect(text).toMatch(/^TCP: +does not get out of this network$/m);
    expect(text).not.toMatch(/hairpin|lifetime|undefined|null/);
  });

  it('says of a host with IPv6 alone that it does get out, and whom that lets it reach', () => {
    const text = words({ udp: blocked, tcp: blocked, ipv6: { udp: firewall, tcp: firewall } });
    expect(text).toMatch(/^For UDP: blocked over IPv4 \(95 % sure\)\. For TCP: blocked over IPv4 \(/);
    expect(text).toMatch(/^UDP: +does not get out of this network over IPv4$/m);
    expect(outcome(text, 'port-restricted cone')).toBe('relayed');
    expect(outcome(text, 'IPv6, through a firewall')).toMatch(/^UDP by simultaneous probes .*, TCP by simul/);
  });

  it('knows of a firewall over IPv6 only where another port of the server was kept out', () => {
    const over6 = (udp: TransportProfile) =>
      words({ udp: measured, tcp: measured, ipv6: { udp, tcp: firewall } });
    const asOneAddressShowsIt: TransportProfile = {
      ...firewall,
      filtering: 'address-dependent',
      provisional: true,
    };
    expect(over6(firewall)).toContain('UDP meets a firewall that lets in answers only');
    expect(over6(asOneAddressShowsIt)).toContain('UDP meets perhaps a firewall');
  });

  it('says where nothing could be measured for want of a server', () => {
    expect(words({ udp: UNMEASURED, tcp: measured })).toMatch(/^UDP: .* over IPv4: no STUN server has it$/m);
  });

  it('tells of a carrier’s NAT where the way out begins in its range, not where a virtual network has such an address', () => {
    vi.spyOn(os, 'networkInterfaces').mockReturnValue({
      tailscale0: [
        {
          address: '100.101.102.103',
          netmask: '255.255.255.255',
          family: 'IPv4',
          mac: '00:00:00:00:00:00',
          internal: false,
          cidr: '100.101.102.103/32',
        },
      ],
    });
    syncBuiltinESMExports();
    const profile = { udp: measured, tcp: measured };
    expect(words(profile, '192.168.1.2')).not.toContain('Carrier NAT');
    expect(words(profile, '100.64.0.9')).toContain('Carrier NAT:  yes');
    vi.restoreAllMocks();
    syncBuiltinESMExports();
  });

  it('says with whom a session will be direct, by what, and with whom it will not', () => {
    const text = words({ udp: symmetric, tcp: symmetric });
    expect(outcome(text, 'port-restricted cone')).toMatch(/^UDP by birthday \(98 %\)$/);
    expect(outcome(text, 'symmetric, random ports')).toBe('relayed');
    expect(outcome(words({ udp: measured, tcp: measured }), 'symmetric, sequential ports')).toMatch(
      /^UDP by port prediction .*, TCP by port prediction/,
    );
  });
});
