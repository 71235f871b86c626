import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import type { Endpoint } from '../../src/core/endpoint.ts';
import { decodeStun, encodeStun } from '../../src/core/stun/message.ts';
import { Peer, Relay, Rendezvous } from '../../src/index.ts';
import { UdpSocket } from '../../src/net/udx.ts';
import { TestDeployment } from '../rendezvous/deployment.ts';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

function freshFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-witness-'));
  closers.push(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

async function startPeer(rendezvous: string): Promise<Peer> {
  const peer = await Peer.start({ home: join(freshFolder(), 'peer'), rendezvous });
  closers.push(() => peer.close());
  return peer;
}

/** A STUN server that sees every mapping elsewhere, as an address-dependent NAT would have it. */
async function startLiar(address: string): Promise<{ endpoint: Endpoint; requests: Buffer[] }> {
  const socket = createSocket('udp4');
  const requests: Buffer[] = [];
  socket.on('message', (bytes, { address: to, port }) => {
    requests.push(bytes);
    const { transactionId } = decodeStun(bytes);
    const mapped = { address: '127.0.0.1', port: port === 9 ? 10 : 9 };
    socket.send(encodeStun({ class: 'success', transactionId, mapped }), port, to);
  });
  socket.bind(0, address);
  await once(socket, 'listening');
  closers.push(() => socket.close());
  return { endpoint: { address, port: socket.address().port }, requests };
}

it('a relay’s STUN shows a peer what one address of the rendezvous can’t', async () => {
  const deployment = await TestDeployment.start({ listen: '127.0.0.2:0', open: true });
  closers.push(() => deployment.close());
  const { endpoint, requests } = await startLiar('127.0.0.1');
  const relay = { url: deployment.server.url, stunUdp: [endpoint], stunTcp: [] };
  await deployment.node({ role: 'relay', relay });
  const peer = await startPeer(deployment.server.url);
  await expect.poll(() => peer.profile.udp.mapping, { timeout: 10_000 }).toBe('address-dependent');
  // Plain, so that nobody there learns this registration's name; no longer than a stranger's answer.
  expect(decodeStun(requests[0]!).username).toBeUndefined();
  expect(requests[0]!.length).toBeLessThanOrEqual(96);
});

it('a relay answers peers that it doesn’t know, and their verdict stands', async () => {
  const [home, relayHome] = [freshFolder(), freshFolder()];
  const common = { insecure: true, stunPort: 0 };
  const rendezvous = await Rendezvous.start({ ...common, listen: '127.0.0.2:0', open: true, home });
  closers.push(() => rendezvous.close());
  const relay = await Relay.start({
    ...common,
    listen: '127.0.0.1:0',
    home: relayHome,
    rendezvous: rendezvous.url,
  });
  closers.push(() => relay.close());
  const peer = await startPeer(rendezvous.url);
  const socket = UdpSocket.open({ host: '127.0.0.1', port: 0 });
  closers.push(() => socket.close());
  const answered = once(socket, 'datagram') as Promise<[Buffer, Endpoint]>;
  socket.send(encodeStun({ class: 'request', transactionId: new Uint8Array(12) }), relay.stun.udp[0]!);
  expect(decodeStun((await answered)[0]).mapped).toEqual(socket.address);
  await expect.poll(() => peer.profile.udp.mapping, { timeout: 10_000 }).toBe('none');
});
