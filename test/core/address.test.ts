import * as fc from 'fast-check';
import { isIP } from 'node:net';
import { describe, expect, it } from 'vitest';
import { canonicalAddress, isAddress, scopeOf, sourceAddress, sourceOf } from '../../src/core/address.ts';
import { formatEndpoint, parseEndpoint } from '../../src/core/endpoint.ts';

describe('addresses', () => {
  it('are counted by what one customer is given: an IPv4 address, a /64 of IPv6', () => {
    expect(sourceOf('192.0.2.1')).not.toBe(sourceOf('192.0.2.2'));
    expect(sourceOf('::ffff:192.0.2.1')).toBe(sourceOf('192.0.2.1'));
    expect(sourceOf('2001:db8:1:2::1')).toBe(sourceOf('2001:db8:1:2:ffff::9'));
    expect(sourceOf('2001:db8:1:2::1')).not.toBe(sourceOf('2001:db8:1:3::1'));
  });

  it.each([
    ['127.0.0.1', '127.0.0.1'],
    ['::ffff:127.0.0.1', '127.0.0.1'],
    ['::FFFF:7f00:1', '127.0.0.1'],
    ['::127.0.0.1', '127.0.0.1'],
    ['64:ff9b::7f00:1', '127.0.0.1'],
    ['64:ff9b::10.1.2.3', '10.1.2.3'],
    ['2002:7f00:1::', '127.0.0.1'],
    ['::ffff:0:127.0.0.1', '127.0.0.1'],
    ['2001:0:c000:201:0:0:f5fe:fdfc', '10.1.2.3'],
    ['2001:db8::5efe:10.1.2.3', '10.1.2.3'],
    ['fd00::200:5efe:7f00:1', '127.0.0.1'],
    ['0:0:0:0:0:0:0:1', '::1'],
    ['0::0', '::'],
    ['fe80::1%eth0', 'fe80::1'],
    ['2001:DB8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
  ])('%s is written %s', (spelling, canonical) => {
    expect(canonicalAddress(spelling)).toBe(canonical);
  });

  it.each([
    '',
    '1.2.3',
    '1.2.3.4.5',
    '01.2.3.4',
    '256.1.1.1',
    '0x7f.1',
    '1::2::3',
    ':::',
    '1:2:3:4:5:6:7:8:9',
    'g::',
    'localhost',
    '1.2.3.4::',
    '1.2.3.4::1',
    '1:1.2.3.4::',
    '::1.2.3.4:1',
    '::1.2.3',
    '::01.2.3.4',
    '1:2:3:4:5:6:7:1.2.3.4',
    '1:2:3:4::5:6:7:8',
    '::00001',
    '1:',
    ':1',
    '::1 ',
    '1.2.3.4\n',
    '1..3.4',
    '1.2.3.4.',
    '::1%',
    '::1%%',
    'fe80::1%a%b',
    'fe80::1%eth 0',
    '%eth0',
    '1.2.3.4%eth0',
  ])('%j is not an address', (text) => {
    expect(isAddress(text)).toBe(false);
    expect(() => canonicalAddress(text)).toThrow(expect.objectContaining({ code: 'USAGE' }));
  });

  it('are what the system takes for one', () => {
    const part = fc.constantFrom(':', '::', '.', '0', '1', 'a', '12', 'ff', '255', '256', '1.2.3.4', '1:2:3');
    const text = fc.array(part, { maxLength: 12 }).map((parts) => parts.join(''));
    const agrees = fc.property(text, (each) => {
      expect(isAddress(each)).toBe(isIP(each) !== 0);
    });
    fc.assert(agrees, { numRuns: 5_000 });
  });

  it.each([
    ['0.1.2.3', 'unspecified'],
    ['127.9.9.9', 'loopback'],
    ['169.254.1.1', 'link-local'],
    ['10.0.0.1', 'private'],
    ['172.31.0.1', 'private'],
    ['172.32.0.1', 'public'],
    ['192.168.0.1', 'private'],
    ['100.64.0.1', 'shared'],
    ['224.0.0.1', 'multicast'],
    ['255.255.255.255', 'reserved'],
    ['198.51.100.1', 'public'],
    ['::', 'unspecified'],
    ['::1', 'loopback'],
    ['::ffff:10.0.0.1', 'private'],
    ['fe80::1', 'link-local'],
    ['fd00::1', 'private'],
    ['ff02::1', 'multicast'],
    ['192.0.0.8', 'reserved'],
    ['192.1.0.8', 'public'],
    ['192.0.2.1', 'public'],
    ['203.0.113.1', 'public'],
    ['2001:db8::1', 'public'],
    ['3fff::1', 'public'],
    ['2001:4860::1', 'public'],
    ['fec0::1', 'private'],
    ['100::1', 'reserved'],
    ['2001:2f::1', 'reserved'],
    ['64:ff9b:1::a00:1', 'reserved'],
    ['5f00::1', 'reserved'],
    ['fe80::5efe:808:808', 'link-local'],
    ['fe80::200:5efe:7f00:1', 'link-local'],
    ['ff0e::5efe:808:808', 'multicast'],
    ['fd00::5efe:808:808', 'private'],
    ['2001:db8::5efe:808:808', 'public'],
    ['2001:db8::5efe:7f00:1', 'loopback'],
    ['::ffff:8.8.8.8', 'public'],
    ['2002:808:808::1', 'public'],
    ['2064:ff9b::7f00:1', 'public'],
  ])('%s is %s', (address, scope) => {
    expect(scopeOf(address)).toBe(scope);
  });
});

describe('the source of a packet', () => {
  it('is IPv4 only where a dual-stack socket says so', () => {
    expect(sourceAddress('::ffff:192.0.2.1')).toBe('192.0.2.1');
    expect(sourceAddress('192.0.2.1')).toBe('192.0.2.1');
    expect(sourceAddress('2001:DB8:0:0::1%eth0')).toBe('2001:db8::1');
  });

  it.each(['2001:db8::5efe:192.0.2.1', '2002:c000:201::1', '64:ff9b::192.0.2.1', '2001:0:1::3fff:fdfe'])(
    '%s does not pass for the IPv4 address in it',
    (address) => {
      expect(sourceAddress(address)).toContain(':');
      expect(sourceOf(address)).not.toBe(sourceOf('192.0.2.1'));
    },
  );
});

describe('endpoints', () => {
  it('are read as they are written', () => {
    for (const text of ['192.0.2.1:80', '[2001:db8::1]:65535']) {
      expect(formatEndpoint(parseEndpoint(text))).toBe(text);
    }
  });

  it.each([
    '192.0.2.1',
    '192.0.2.1:',
    '192.0.2.1:70000',
    '192.0.2.1:+80',
    '192.0.2.1:8e1',
    '192.0.2.1: 80',
    '192.0.2.1:80\n',
    '::1:80',
    '[::1]',
    '[::1]:',
    '[[::1]]:80',
    '[::1%]:80',
    '[]:80',
    ':80',
    'host:80',
  ])('%j is refused', (text) => {
    expect(() => parseEndpoint(text)).toThrow(expect.objectContaining({ code: 'USAGE' }));
  });
});
