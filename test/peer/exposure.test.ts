import { describe, expect, it } from 'vitest';
import type { Grant } from '../../peer/allow-list.ts';
import {
  authorize,
  collectExposure,
  mayDialAddress,
  parseExposure,
  type Exposure,
  type Offering,
} from '../../peer/exposure.ts';
import { parsePermit } from '../../peer/listen-permit.ts';
import type { StreamPurpose } from '../../src/core/protocol/open.ts';

const offering: Offering = {
  exposures: [
    'web=127.0.0.1:8080',
    'db.lan:5432',
    'dns=127.0.0.1:53',
    'dns=127.0.0.1:5353/udp',
    'docker=/run/docker.sock',
  ].map(parseExposure),
  handlers: new Set(['echo']),
  pipe: true,
  permits: [parsePermit('8080')],
  asked: new Map([[5, { via: 'tcp', host: '127.0.0.1', port: 9 }]]),
};
const code = (expected: string) => expect.objectContaining({ code: expected });

describe('authorisation at the side that dials', () => {
  it('leads an exposed service, by name or by address, to its target', () => {
    const target = {
      to: 'target',
      target: { via: 'tcp', host: '127.0.0.1', port: 8080 },
      checked: true,
    };
    expect(authorize({ for: 'service', name: 'web' }, 'all', offering)).toEqual(target);
    expect(authorize({ for: 'target', host: '127.0.0.1', port: 8080 }, 'all', offering)).toEqual(target);
    expect(authorize({ for: 'service', name: 'echo' }, 'all', offering)).toEqual({
      to: 'handler',
      name: 'echo',
    });
    expect(authorize({ for: 'pipe' }, 'all', offering)).toEqual({ to: 'pipe' });
  });

  it('refuses every target that does not equal an exposure', () => {
    for (const [host, port] of [
      ['127.0.0.1', 8081],
      ['localhost', 8080],
      ['::ffff:127.0.0.1', 8080],
    ] as const) {
      expect(() => authorize({ for: 'target', host, port }, 'all', offering)).toThrow(code('NOT_AUTHORIZED'));
    }
    expect(() => authorize({ for: 'service', name: 'ssh' }, 'all', offering)).toThrow(
      code('SERVICE_UNKNOWN'),
    );
  });

  it('narrows a peer to the services that it was granted', () => {
    const grant = new Set(['web']);
    expect(authorize({ for: 'service', name: 'web' }, grant, offering)).toMatchObject({ to: 'target' });
    expect(() => authorize({ for: 'service', name: 'echo' }, grant, offering)).toThrow(
      code('NOT_AUTHORIZED'),
    );
    expect(() => authorize({ for: 'pipe' }, grant, offering)).toThrow(code('NOT_AUTHORIZED'));
    expect(() => authorize({ for: 'target', host: 'db.lan', port: 5432 }, grant, offering)).toThrow(
      code('NOT_AUTHORIZED'),
    );
  });

  it('marks targets of --expose any for a check after resolution', () => {
    const any: Offering = { ...offering, exposures: ['any'], pipe: false };
    expect(authorize({ for: 'target', host: 'x', port: 1 }, 'all', any)).toMatchObject({ checked: false });
    expect(authorize({ for: 'udp-target', host: 'x', port: 1 }, 'all', any)).toMatchObject({
      checked: false,
    });
    expect(() => authorize({ for: 'pipe' }, 'all', any)).toThrow(code('SERVICE_UNKNOWN'));
  });

  it('keeps UDP and TCP apart under one name', () => {
    const port = (purpose: StreamPurpose) => {
      const destination = authorize(purpose, 'all', offering);
      return destination.to === 'target' && destination.target.via !== 'unix' && destination.target.port;
    };
    expect(port({ for: 'service', name: 'dns' })).toBe(53);
    expect(port({ for: 'udp-service', name: 'dns' })).toBe(5353);
    expect(() => authorize({ for: 'udp-service', name: 'web' }, 'all', offering)).toThrow(
      code('SERVICE_UNKNOWN'),
    );
    expect(() => authorize({ for: 'udp-target', host: '127.0.0.1', port: 8080 }, 'all', offering)).toThrow(
      code('NOT_AUTHORIZED'),
    );
  });

  it('leads to a Unix socket that is named, and with --expose any to no other', () => {
    const target = { via: 'unix', path: '/run/docker.sock' };
    expect(authorize({ for: 'service', name: 'docker' }, 'all', offering)).toMatchObject({ target });
    expect(authorize({ for: 'socket', path: '/run/docker.sock' }, 'all', offering)).toMatchObject({ target });
    const any: Offering = { ...offering, exposures: ['any'] };
    expect(() => authorize({ for: 'socket', path: '/run/docker.sock' }, 'all', any)).toThrow(
      code('NOT_AUTHORIZED'),
    );
  });

  it('lets a peer listen only where that is permitted, on loopback unless said otherwise', () => {
    const ask = (bind: string, port: number, permits = ['8080'], grant: Grant = 'all') =>
      authorize({ for: 'listen', transport: 'tcp', bind, port }, grant, {
        ...offering,
        permits: permits.map(parsePermit),
      });
    expect(ask('127.0.0.1', 8080)).toMatchObject({ to: 'listener', request: { port: 8080 } });
    expect(ask('localhost', 8080)).toMatchObject({ to: 'listener' });
    expect(ask('0.0.0.0', 80, ['0.0.0.0:80'])).toMatchObject({ to: 'listener' });
    expect(ask('::1', 81, ['[::1]:any'])).toMatchObject({ to: 'listener' });
    for (const [bind, port, permits, grant] of [
      ['127.0.0.1', 8081],
      ['0.0.0.0', 8080],
      ['::', 8080, ['any']],
      ['some.name', 8080, ['any']],
      ['127.0.0.1', 8080, []],
      ['127.0.0.1', 8080, ['8080'], new Set(['web'])],
    ] as [string, number, string[]?, Grant?][])
      expect(() => ask(bind, port, permits, grant)).toThrow(code('NOT_AUTHORIZED'));
  });

  it.each([
    ['localhost', '127.0.0.1', 'any'],
    ['ff0e::5efe:7f00:1', '127.0.0.1', 'any'],
    ['2002:7f00:1::9', '127.0.0.1', 'any'],
    ['0:0::1', '::1', '[::1]:any'],
    ['fe80::0:1%eth0', 'fe80::1%eth0', '[fe80::1%eth0]:any'],
  ])('listens for %s at %s, the address that was permitted', (bind, bound, permit) => {
    const offered = { ...offering, permits: [parsePermit(permit)] };
    const found = authorize({ for: 'listen', transport: 'udp', bind, port: 81 }, 'all', offered);
    expect(found).toEqual({ to: 'listener', request: { transport: 'udp', bind: bound, port: 81 } });
  });

  it('takes back what came in where it asked the peer to listen, and nothing else, from a peer that it does not allow', () => {
    expect(authorize({ for: 'accepted', listener: 5 }, undefined, offering)).toMatchObject({
      target: { port: 9 },
    });
    for (const purpose of [{ for: 'accepted', listener: 6 }, { for: 'pipe' }] as const)
      expect(() => authorize(purpose, undefined, offering)).toThrow(code('NOT_AUTHORIZED'));
  });

  it.each(['', 'x', '99999', 'host.name:80', '[::1]', ':80'])('%j is no place to listen', (text) => {
    expect(() => parsePermit(text)).toThrow(code('USAGE'));
  });

  it('does not tell a peer of services that it was not granted, whether there are such or not', () => {
    const grant = new Set(['web']);
    for (const name of ['echo', 'nothing']) {
      expect(() => authorize({ for: 'service', name }, grant, offering)).toThrow(code('NOT_AUTHORIZED'));
    }
    const without = { ...offering, pipe: false };
    expect(() => authorize({ for: 'pipe' }, grant, without)).toThrow(code('NOT_AUTHORIZED'));
  });

  it.each([
    '169.254.169.254',
    '::ffff:169.254.169.254',
    '2002:a9fe:a9fe::',
    '64:ff9b::a9fe:a9fe',
    'fe80::1',
    'fe80::1%eth0',
    '0.0.0.0',
    '224.0.0.1',
    '255.255.255.255',
    '::',
    '100.100.100.200',
    'fd00:ec2::254',
    'fd00:ec2::23',
    'fd00:ec2:1::5efe:808:808',
    'fd20:ce::254',
    'fd00:42::42',
    'fe80::5efe:808:808',
    'ff0e::5efe:808:808',
    '168.63.129.16',
  ])('never dials %s, however it was reached', (address) => expect(mayDialAddress(address)).toBe(false));

  it.each(['127.0.0.1', '::1', '192.168.1.1', 'fd00::1', 'fd00:42::43', 'fd00:ec3::254', '8.8.8.8'])(
    'dials %s',
    (address) => expect(mayDialAddress(address)).toBe(true),
  );

  it.each(['', 'web=', 'host', 'host:0', ':80', 'a b=host:80'])('%j is no exposure', (text) => {
    expect(() => parseExposure(text)).toThrow(code('USAGE'));
  });

  it('quotes what can not be exposed, whole', () => {
    expect(() => parseExposure('bad target')).toThrow(/"bad target"/);
  });

  it('under one name are one for streams and one for datagrams', () => {
    const all = (...texts: string[]) =>
      texts.reduce<Exposure[]>((before, text) => collectExposure(text, before), []);
    expect(all('dns=a:53', 'dns=a:53/udp', 'dns=a:53', 'any', 'any')).toHaveLength(5);
    expect(() => all('web=a:3000', 'web=a:3001')).toThrow(/"web" would stand for both a:3000 and a:3001/);
    expect(() => all('web=a:3000', 'web=/run/web.sock')).toThrow(code('USAGE'));
  });
});
