import { describe, expect, it } from 'vitest';
import { proxyFor } from '../../src/net/proxy.ts';

const https = new URL('https://meet.example:8443');
const http = new URL('http://meet.example');
const proxy = 'http://proxy.example:3128';

describe('the proxy of the environment', () => {
  it('is chosen by the scheme of the target', () => {
    expect(proxyFor(https, { HTTPS_PROXY: proxy })?.host).toBe('proxy.example:3128');
    expect(proxyFor(https, { HTTP_PROXY: proxy })).toBeUndefined();
    expect(proxyFor(http, { http_proxy: proxy })?.host).toBe('proxy.example:3128');
    expect(proxyFor(http, { ALL_PROXY: proxy })?.host).toBe('proxy.example:3128');
    expect(proxyFor(https, {})).toBeUndefined();
    expect(proxyFor(https, { HTTPS_PROXY: '' })).toBeUndefined();
  });

  it.each([
    ['*', true],
    ['meet.example', true],
    ['example', true],
    ['.example', true],
    ['*.example', true],
    ['other.example, meet.example', true],
    ['meet.example:8443', true],
    ['meet.example:443', false],
    ['eet.example', false],
    ['other.example', false],
    ['', false],
  ])('is left out for NO_PROXY=%s: %s', (list, exempt) => {
    expect(proxyFor(https, { HTTPS_PROXY: proxy, NO_PROXY: list }) === undefined).toBe(exempt);
  });

  it('is left out for an IPv6 address in NO_PROXY', () => {
    const environment = { HTTP_PROXY: proxy, NO_PROXY: '2001:db8::1,[2001:db8::2]:80' };
    expect(proxyFor(new URL('http://[2001:db8::1]:8080'), environment)).toBeUndefined();
    expect(proxyFor(new URL('http://[2001:db8::2]'), environment)).toBeUndefined();
    expect(proxyFor(new URL('http://[2001:db8::3]'), environment)).toBeDefined();
  });

  it('has to speak HTTP', () => {
    expect(() => proxyFor(https, { ALL_PROXY: 'socks5://proxy.example' })).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID' }),
    );
  });
});
