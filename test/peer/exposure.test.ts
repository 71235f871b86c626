import { describe, expect, it } from 'vitest';
import { authorize, mayDialAddress, parseExposure } from '../../peer/exposure.ts';

const offering = {
  exposures: [parseExposure('web=127.0.0.1:8080'), parseExposure('db.lan:5432')],
  handlers: new Set(['echo']),
  pipe: true,
};
const code = (expected: string) => expect.objectContaining({ code: expected });

describe('authorisation at the side that dials', () => {
  it('leads an exposed service, by name or by address, to its target', () => {
    const target = { to: 'target', host: '127.0.0.1', port: 8080, checked: true };
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
    const any = { exposures: ['any' as const], handlers: new Set<string>(), pipe: false };
    expect(authorize({ for: 'target', host: 'x', port: 1 }, 'all', any)).toMatchObject({ checked: false });
    expect(() => authorize({ for: 'pipe' }, 'all', any)).toThrow(code('SERVICE_UNKNOWN'));
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
    '168.63.129.16',
  ])('never dials %s, however it was reached', (address) => expect(mayDialAddress(address)).toBe(false));

  it.each(['', 'web=', 'host', 'host:0', ':80', 'a b=host:80'])('%j is no exposure', (text) => {
    expect(() => parseExposure(text)).toThrow(code('USAGE'));
  });
});
