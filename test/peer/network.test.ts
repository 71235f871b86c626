import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Network } from '../../peer/network.ts';
import type { DirectPath } from '../../peer/traversal.ts';
import { ProbeCodec } from '../../src/core/punch/probe.ts';
import type { SessionKeys } from '../../src/core/session/keys.ts';
import type { Peer } from '../../src/index.ts';
import { systemClock } from '../../src/net/clock.ts';
import { PortMapping } from '../../src/net/port-mapping.ts';
import { UdpSocket } from '../../src/net/udx.ts';
import { secure } from '../../src/net/secure.ts';
import { Caller, Meeting } from './meeting.ts';

const opened: Socket[] = [];
afterEach(() => {
  for (const socket of opened.splice(0)) socket.destroy();
});

/** A connection to a peer's listener, with everything that comes back. */
async function dial(port: number): Promise<{ socket: Socket; received: Buffer[]; closed: Promise<unknown> }> {
  const socket = connect({ host: '127.0.0.1', port });
  opened.push(socket);
  const received: Buffer[] = [];
  socket.on('data', (chunk) => received.push(chunk)).on('error', () => {});
  // `once` would fail by the error of a reset, which is as good an end as any.
  const closed = new Promise((resolve) => socket.once('close', resolve));
  await once(socket, 'connect');
  return { socket, received, closed };
}

function portsOf(network: Network): { udp: number; tcp: number } {
  const tcp = network.hostCandidates.find(({ transport }) => transport === 'tcp');
  return { udp: network.udp.address.port, tcp: tcp?.endpoint.port ?? 0 };
}

describe('what a router leads to a peer', () => {
  it('is asked for anew by other servers, and looked after when the same ones are there again', async () => {
    const asked = vi.spyOn(PortMapping.prototype, 'start').mockReturnValue();
    const lookedAfter = vi.spyOn(PortMapping.prototype, 'refresh');
    const network = await Network.open(systemClock);
    const discover = (username: string) => {
      network.discover({ username, key: new Uint8Array(16), udp: [], tcp: [] }, false, () => []);
      return [asked.mock.calls.length, lookedAfter.mock.calls.length];
    };
    expect(['one', 'one', 'other'].map(discover)).toEqual([
      [1, 0],
      [1, 1],
      [2, 1],
    ]);
    await network.close();
  });
});

describe('a peer’s listener', () => {
  let network: Network;
  beforeEach(async () => {
    network = await Network.open(systemClock);
    vi.spyOn(network, 'onLoopback', 'get').mockReturnValue(true);
  });
  afterEach(() => network.close());

  it('closes without a byte a connection whose tag is nobody’s', async () => {
    const { socket, received, closed } = await dial(portsOf(network).tcp);
    socket.write(randomBytes(16));
    await closed;
    expect(received).toEqual([]);
  });

  it('hands over a connection with a session’s tag, and not once the session has gone', async () => {
    const tag = randomBytes(16);
    const taken: Uint8Array[] = [];
    const release = network.accept(tag, ({ socket, tag: read }) => {
      taken.push(read);
      socket.destroy();
    });
    const port = portsOf(network).tcp;
    const first = await dial(port);
    first.socket.write(tag);
    await first.closed;
    release();
    const second = await dial(port);
    second.socket.write(tag);
    await second.closed;
    expect(taken.map((each) => Buffer.from(each))).toEqual([tag]);
  });

  it('gives a tag five seconds in all, however it drips in', async () => {
    const { socket, closed } = await dial(portsOf(network).tcp);
    const began = performance.now();
    const drip = setInterval(() => socket.write('x'), 400);
    await closed;
    clearInterval(drip);
    expect(performance.now() - began).toBeLessThan(10_000); // 5 s, or 16 bytes, and a loaded machine
  });

  it('ends who sends more than 4 KiB behind a tag before TLS', async () => {
    const { socket, received, closed } = await dial(portsOf(network).tcp);
    socket.write(randomBytes(64 * 1024));
    await closed;
    expect(received).toEqual([]);
  });

  it('holds sixteen silent connections of one address, and closes further ones at once', async () => {
    const port = portsOf(network).tcp;
    const held = await Promise.all(Array.from({ length: 16 }, () => dial(port)));
    await sleep(100);
    const { closed } = await dial(port);
    await closed;
    expect(held.every(({ socket }) => !socket.destroyed)).toBe(true);
    held[0]!.socket.destroy();
    await sleep(100);
    const { socket } = await dial(port);
    await sleep(100);
    expect(socket.destroyed).toBe(false);
  });

  it('answers no datagram of a stranger', async () => {
    const socket = createSocket('udp4').bind(0, '127.0.0.1');
    await once(socket, 'listening');
    const answers: Buffer[] = [];
    socket.on('message', (bytes) => answers.push(bytes));
    const random = (count: number) => new Uint8Array(randomBytes(count));
    const credentials = { username: 'nobody-knows-me', sendKey: random(32), receiveKey: random(32) };
    const probe = new ProbeCodec(credentials, random).request(false).bytes;
    const udx = Buffer.from([0xff, 0x01, ...randomBytes(40)]);
    const garbage = Array.from({ length: 200 }, (_, n) => randomBytes(n));
    for (const bytes of [...garbage, probe, udx]) socket.send(bytes, portsOf(network).udp, '127.0.0.1');
    await sleep(300);
    socket.close();
    expect(answers).toEqual([]);
  });
});

describe('--paths', () => {
  let meeting: Meeting;
  let bob: Peer;
  let far: UdpSocket;
  beforeEach(async () => {
    meeting = await Meeting.start();
    bob = await meeting.peer('bob', ['any']);
    far = UdpSocket.open({ host: '127.0.0.1', port: 0 });
    meeting.onClose(() => far.close());
  });
  afterEach(() => meeting.close());

  /** Whether the callee answers a proper probe, and takes a connection with the proper tag. */
  async function reachableBy(keys: SessionKeys): Promise<{ udp: boolean; tcp: boolean }> {
    const random = (count: number) => new Uint8Array(randomBytes(count));
    const credentials = {
      username: keys.probeUsername,
      sendKey: keys.probe('initiator'),
      receiveKey: keys.probe('responder'),
    };
    const codec = new ProbeCodec(credentials, random);
    const { udp, tcp } = portsOf(bob.network);
    let answered = false;
    far.removeAllListeners('datagram');
    far.on('datagram', (bytes) => (answered ||= codec.read(bytes)?.kind === 'answer'));
    far.send(codec.request(false).bytes, { address: '127.0.0.1', port: udp });
    const { socket, received } = await dial(tcp);
    socket.write(keys.path('tcp', 'initiator').tagOut);
    await sleep(500);
    return { udp: answered, tcp: received.length > 0 };
  }

  it.each([
    { kinds: ['udp', 'tcp', 'relay'] as const, reached: { udp: true, tcp: true } },
    { kinds: ['udp', 'relay'] as const, reached: { udp: true, tcp: false } },
    { kinds: ['tcp', 'relay'] as const, reached: { udp: false, tcp: true } },
    { kinds: ['relay'] as const, reached: { udp: false, tcp: false } },
  ])('$kinds of the caller binds the callee: $reached', async ({ kinds, reached }) => {
    const call = new Caller(meeting, bob).offer({ kinds });
    call.update({});
    // By the rendezvous it may come later than what is sent straight.
    await expect.poll(() => reachableBy(call.keys)).toEqual(reached);
  });

  it('binds the session itself, whatever is handed to it', async () => {
    const call = new Caller(meeting, bob).offer({ kinds: ['relay'] });
    call.update({});
    const session = bob.sessions.find(({ id }) => id === call.id)!;
    const attached = vi.fn<() => void>();
    session.on('attached', attached);
    const { socket } = await dial(portsOf(bob.network).tcp);
    const path: DirectPath = {
      kind: 'tcp',
      pipe: socket,
      local: undefined,
      remote: 'x',
      technique: 'x',
      lan: false,
      rttMs: 1,
    };
    session.addDirectPath(path);
    expect(socket.destroyed).toBe(true);
    expect(attached).not.toHaveBeenCalled();
  });

  it('without the relay, takes no circuit and asks for no ticket', async () => {
    const caller = new Caller(meeting, bob);
    const call = caller.offer({ kinds: ['udp'], tickets: [new Uint8Array(158)] });
    call.update({});
    await sleep(300);
    expect(call.replies.filter(({ t }) => t === 'renew')).toEqual([]);
  });

  it('the caller is the TLS client on a path that it did not dial', async () => {
    const call = new Caller(meeting, bob).offer({ kinds: ['tcp'] });
    call.update({});
    const { socket } = await dial(portsOf(bob.network).tcp);
    const tls = await secure(socket, { role: 'client', keys: call.keys.path('tcp', 'initiator') });
    expect(tls.getProtocol()).toBe('TLSv1.3');
    // Turned round, both ends wait for the other's ClientHello.
    const { socket: turned } = await dial(portsOf(bob.network).tcp);
    const keys = call.keys.path('tcp', 'initiator');
    await expect(secure(turned, { role: 'server', keys, timeoutMs: 500 })).rejects.toThrow();
  });
});
