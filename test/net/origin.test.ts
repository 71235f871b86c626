import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, describe, expect, it } from 'vitest';
import { connectOrigin } from '../../src/net/origin.ts';
import { TestDeployment } from '../rendezvous/deployment.ts';
import { silentEndpoint } from './silent-endpoint.ts';
import { TinyProxy } from './tiny-proxy.ts';

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

async function failure(url: string, environment = {}): Promise<unknown> {
  return connectOrigin({ url, environment }, [], 'RENDEZVOUS_UNREACHABLE').catch((error: unknown) => error);
}

async function portOf(server: ReturnType<typeof createServer>): Promise<number> {
  closing.push(() => server.close());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return (server.address() as AddressInfo).port;
}

describe('a server that can’t be reached', () => {
  it('has a hint that fits its certificate', async () => {
    const deployment = await TestDeployment.start({ tls: true });
    closing.push(() => deployment.close());
    expect(await failure(deployment.server.url)).toMatchObject({
      hint: expect.stringContaining('NODE_EXTRA_CA_CERTS'),
    });
  });

  it('may speak no TLS', async () => {
    const port = await portOf(createServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')));
    expect(await failure(`https://127.0.0.1:${port}`)).toMatchObject({
      message: expect.stringMatching(/^can't reach 127\.0\.0\.1:\d+: TLS: [\w ]+$/),
      hint: expect.stringContaining('http://'),
    });
  });

  it('may be where no network leads, as nothing by TCP leads to a broadcast address', async () => {
    expect(await failure('http://255.255.255.255:9')).toMatchObject({
      message: expect.stringMatching(/connect E[A-Z]+ 255\.255\.255\.255:9$/),
      hint: expect.stringContaining('is it connected?'),
    });
  });

  it('is told apart from a proxy that can’t', async () => {
    const HTTP_PROXY = 'http://127.0.0.1:9';
    expect(await failure('http://192.0.2.1', { HTTP_PROXY })).toMatchObject({
      message: expect.stringContaining('192.0.2.1 through the proxy 127.0.0.1:9: connect ECONNREFUSED'),
    });
  });
});

it('dials nobody any longer who has not answered in time', async () => {
  const { remote, close } = await silentEndpoint();
  closing.push(close);
  const sockets = () => process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length;
  const before = sockets();
  const url = `http://${remote.address}:${remote.port}`;
  const dialled = connectOrigin({ url, environment: {}, timeoutMs: 500 }, [], 'RENDEZVOUS_UNREACHABLE');
  await expect(dialled).rejects.toMatchObject({ message: expect.stringContaining('no answer in time') });
  await expect.poll(sockets).toBeLessThanOrEqual(before);
});

it.each([200, 204])('takes %s of a proxy for success, as every 2xx (RFC 9110 §9.3.6)', async (status) => {
  const proxy = await TinyProxy.start();
  closing.push(() => proxy.close());
  proxy.success = status;
  const port = await portOf(createServer((socket) => socket.end('hello')));
  const origin = { url: `http://127.0.0.1:${port}`, environment: { HTTP_PROXY: proxy.url } };
  const { socket } = await connectOrigin(origin, [], 'RENDEZVOUS_UNREACHABLE');
  expect(await text(socket)).toBe('hello');
});
