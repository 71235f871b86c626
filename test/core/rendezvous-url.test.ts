import { describe, expect, it } from 'vitest';
import { identityFromSeed } from '../../src/core/identity.ts';
import { formatRendezvousUrl, parseRendezvousUrl } from '../../src/core/rendezvous-url.ts';

const { id } = identityFromSeed(new Uint8Array(32).fill(7));

describe('a join URL', () => {
  it('reads back as it was written', () => {
    const join = { url: 'https://meet.example:8443', id, token: 'a+b/c=&d' };
    expect(parseRendezvousUrl(formatRendezvousUrl(join))).toEqual(join);
    expect(parseRendezvousUrl('http://192.0.2.1')).toEqual({ url: 'http://192.0.2.1' });
    expect(parseRendezvousUrl('https://meet.example/').url).toBe('https://meet.example');
  });

  it.each([
    'meet.example',
    'ftp://meet.example',
    'https://user@meet.example',
    'https://meet.example/path',
    '',
  ])('refuses %j', (text) => {
    expect(() => parseRendezvousUrl(text)).toThrow(expect.objectContaining({ code: 'URL_INVALID' }));
  });

  it('never shows a token in its complaint', () => {
    const attempt = () => parseRendezvousUrl('https://meet.example/x#token=secret');
    expect(attempt).toThrow(expect.objectContaining({ code: 'URL_INVALID' }));
    expect(attempt).not.toThrow(/secret/);
  });

  it('refuses a fragment that holds something else', () => {
    const attempt = () => parseRendezvousUrl(`https://meet.example#id=${id}&tokn=secret`);
    expect(attempt).toThrow(expect.objectContaining({ code: 'URL_INVALID' }));
    expect(attempt).not.toThrow(/secret/);
  });

  it('refuses an id that is no key', () => {
    expect(() => parseRendezvousUrl('https://meet.example#id=abc')).toThrow(/not a key/);
  });
});
