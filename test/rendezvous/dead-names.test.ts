import { afterEach, expect, it, vi } from 'vitest';
import { TinyProxy } from '../net/tiny-proxy.ts';
import { TestDeployment } from './deployment.ts';

/** A network in which only the proxy resolves names, and whose own server for them says nothing. */
vi.mock('node:dns/promises', () => ({ lookup: () => new Promise(() => {}) }));

let deployment: TestDeployment;
afterEach(() => deployment.close());

it('a node behind a proxy registers where names are not answered, without STUN at the URL’s host', async () => {
  deployment = await TestDeployment.start({ listen: '0.0.0.0:0', ipv6Address: 'none' });
  const proxy = await TinyProxy.start();
  deployment.onClose(() => proxy.close());
  const url = `http://127.0.0.1:${new URL(deployment.server.url).port}`;
  const { signal } = await deployment.node({ url, environment: { http_proxy: proxy.url } });
  expect(signal.grant!.stun.udp).toEqual([]);
}, 15_000);
