import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { ALIVE, OPEN } from '../../src/core/protocol/standing-leg.ts';
import { issueTicket } from '../../src/core/protocol/ticket.ts';
import { loadIdentity } from '../../src/net/identity-file.ts';
import { RelayLink } from '../../src/net/relay-link.ts';
import { serverTime } from '../../src/net/server-clock.ts';
import { ManualClock } from '../peer/manual-clock.ts';
import { freshIdentity, TestDeployment } from '../rendezvous/deployment.ts';
import { Middlebox, type MiddleboxOptions } from './middlebox.ts';

let deployment: TestDeployment;
afterEach(async () => deployment.close());

const alice = freshIdentity();

function ticket(): Uint8Array {
  const key = loadIdentity(join(deployment.home, 'rendezvous.key'));
  const circuit = new Uint8Array(randomBytes(16));
  const expires = serverTime() + 60_000;
  return issueTicket(key, { circuit, leg: 0, peer: alice.id, relay: key.id, expires, bytesPerSecond: 0 });
}

/** A connection of a stranger's that was upgraded. */
async function upgraded(): Promise<Socket> {
  const { hostname, port } = new URL(deployment.server.url);
  const socket = connect(Number(port), hostname);
  socket.on('error', () => undefined);
  socket.write('GET /v1/circuit HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: sallyport\r\n\r\n');
  await once(socket, 'data');
  return socket;
}

const REFUSED_OPENING = Buffer.from(`\u0001${'x'.repeat(318)}`);

describe('a stranger who was refused', () => {
  it('holds nothing once it has closed, whatever it sent behind its opening', async () => {
    deployment = await TestDeployment.start();
    const refuse = async () => {
      const socket = await upgraded();
      socket.resume().write(Buffer.concat([REFUSED_OPENING, Buffer.alloc(1_000)]));
      await new Promise((resolve) => socket.once('close', resolve)); // its end, or a reset
    };
    // More than one address may hold at a time.
    for (let round = 0; round < 5; round++) await Promise.all(Array.from({ length: 16 }, refuse));
    expect((await deployment.node()).signal.grant).toBeDefined();
  });

  it.each([false, true])('is told why (TLS: %s)', async (tls) => {
    deployment = await TestDeployment.start({ tls });
    const leg = deployment.link().open(ticket(), freshIdentity(), { kinds: ['relay-h1'] });
    await expect(leg).rejects.toMatchObject({ code: 'TICKET_INVALID' });
  });

  it('can’t keep the connection by leaving its end open', async () => {
    deployment = await TestDeployment.start();
    const socket = await upgraded();
    socket.allowHalfOpen = true;
    socket.resume().write(REFUSED_OPENING);
    const writing = setInterval(() => socket.write('.'), 20);
    await new Promise((resolve) => socket.once('close', resolve));
    clearInterval(writing);
    expect(socket.readableEnded).toBe(true); // told first, then closed
  });
});

describe('the way to a relay', () => {
  const through = async (options: MiddleboxOptions) => {
    deployment = await TestDeployment.start();
    const box = await Middlebox.start(deployment.server.url, options);
    deployment.onClose(() => box.close());
    const link = deployment.link(box.url);
    return { box, link, open: () => link.open(ticket(), alice) };
  };
  const SWALLOWS: MiddleboxOptions = { upgrades: [], swallows: true };
  const upgradeTimedOut = () => sleep(2_500);

  it('stays warm when an opening was refused', async () => {
    const { box, link } = await through({});
    await link.warm();
    await expect(link.open(ticket(), freshIdentity())).rejects.toMatchObject({ code: 'TICKET_INVALID' });
    await expect.poll(() => box.connections).toBe(2);
  });

  it('makes the next standing connection a little after a leg was opened', async () => {
    const { box } = await through({});
    const clock = new ManualClock();
    const link = new RelayLink({ url: box.url, environment: {}, clock });
    deployment.onClose(() => link.close());
    await link.warm();
    expect((await link.open(ticket(), alice)).kind).toBe('relay-h1');
    await clock.pass(14);
    expect(box.connections).toBe(1);
    await clock.pass(1);
    await expect.poll(() => box.connections).toBe(2);
  });

  it('is dialled anew where the standing connection turns out to be dead', async () => {
    const { box, link, open } = await through({});
    await link.warm();
    await sleep(500); // its first ping is answered
    box.forget();
    expect((await open()).kind).toBe('relay-h1');
  });

  it('holds no connection that the relay ended as it was opened', async () => {
    deployment = await TestDeployment.start();
    const held = new Set<Socket>();
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      held.add(socket.on('error', () => undefined).on('close', () => held.delete(socket)));
      socket.on('end', () => socket.end());
      socket.once('data', () => {
        socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: sallyport\r\n\r\n');
        socket.on('data', ([type]) => {
          if (type === OPEN) socket.end();
          else socket.write(Uint8Array.of(ALIVE));
        });
      });
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    deployment.onClose(() => void server.close());
    const link = deployment.link(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    await link.warm();
    await sleep(500); // its first ping is answered
    await expect(link.open(ticket(), alice, { kinds: ['relay-h1'] })).rejects.toMatchObject({
      code: 'RELAY_UNREACHABLE',
    });
    link.close();
    await expect.poll(() => held.size, { timeout: 5_000 }).toBe(0);
  });

  it('is by HTTP/2 where a middlebox lets the upgrade through and nothing behind it', async () => {
    const { box, link, open } = await through({ deafAfterUpgrade: true });
    await link.warm();
    expect((await open()).kind).toBe('relay-h2');
    expect((await open()).kind).toBe('relay-h2');
    expect(box.connections).toBe(2);
  });

  it('doesn’t hold against a network what another one has swallowed', async () => {
    const { box, link, open } = await through(SWALLOWS);
    void link.warm();
    await expect.poll(() => box.connections).toBe(1);
    box.options = {};
    link.reset();
    await upgradeTimedOut();
    expect((await open()).kind).toBe('relay-h1');
  });

  it('is given up where it is silent altogether, which says nothing of what gets through later', async () => {
    const { box, open } = await through({ silent: true });
    await expect(open()).rejects.toMatchObject({ code: 'RELAY_UNREACHABLE' });
    box.options = {};
    expect((await open()).kind).toBe('relay-h1');
  }, 30_000);

  it('is looked at again where the relay was silent for a moment', async () => {
    const { box } = await through({ silent: true });
    const clock = new ManualClock();
    const link = new RelayLink({ url: box.url, environment: {}, clock });
    deployment.onClose(() => link.close());
    const warm = link.warm();
    for (const dialled of [1, 2]) {
      await expect.poll(() => box.connections).toBe(dialled);
      await sleep(100);
      await clock.pass(2_000);
    }
    await warm;
    box.options = {};
    for (let seconds = 0; seconds < 30 && box.connections < 3; seconds++) {
      await clock.pass(1_000);
      await sleep(50);
    }
    expect(box.connections).toBe(3);
    expect((await link.open(ticket(), alice)).kind).toBe('relay-h1');
  });

  it('is dialled more and more seldom where each connection is cut off that stood for a moment', async () => {
    const { box } = await through({});
    const clock = new ManualClock();
    const link = new RelayLink({ url: box.url, environment: {}, clock });
    deployment.onClose(() => link.close());
    await link.warm();
    for (let rounds = 0; rounds < 100; rounds++) {
      await sleep(40);
      box.cut();
      await sleep(10);
      await clock.pass(250);
    }
    expect(box.connections).toBeLessThan(35);
  });

  it('opens no leg by a network that was left meanwhile', async () => {
    const { box, link, open } = await through(SWALLOWS);
    const leg = open();
    await expect.poll(() => box.connections).toBe(1);
    link.reset();
    await expect(leg).rejects.toMatchObject({ code: 'RELAY_UNREACHABLE' });
  });

  it('makes no other connection once it is closed', async () => {
    const { box, link } = await through(SWALLOWS);
    void link.warm();
    await expect.poll(() => box.connections).toBe(1);
    link.close();
    await upgradeTimedOut();
    expect(box.connections).toBe(1);
  });

  const underTls = async (options: MiddleboxOptions) => {
    deployment = await TestDeployment.start({ tls: true });
    const box = await Middlebox.start(deployment.server.url, options);
    const clock = new ManualClock();
    const url = box.url.replace('http', 'https');
    const link = new RelayLink({ url, ca: deployment.ca, environment: {}, clock });
    deployment.onClose(() => box.close());
    deployment.onClose(() => link.close());
    return { box, link, clock };
  };
  const twentyMinutes = async (clock: ManualClock) => {
    for (let seconds = 0; seconds < 1_200; seconds += 5) {
      await clock.pass(5_000);
      await sleep(5); // what is dialled is refused
    }
    await sleep(200);
  };

  it('is tried ever more seldom where there never was a relay, and at once for a leg', async () => {
    const { box, link, clock } = await underTls({ refuses: true });
    await expect(link.warm()).rejects.toMatchObject({ code: 'RELAY_UNREACHABLE' });
    await twentyMinutes(clock);
    expect(box.connections).toBeLessThan(40);
    box.options = {};
    expect((await link.open(ticket(), alice)).kind).toBe('relay-h1');
  });

  it('is tried every few seconds where a relay has been, however long it is away', async () => {
    const { box, link, clock } = await underTls({});
    await link.warm();
    box.options = { refuses: true };
    link.reset();
    await twentyMinutes(clock);
    box.options = {};
    const before = box.connections;
    await clock.pass(5_000);
    await expect.poll(() => box.connections).toBeGreaterThan(before);
  });

  it('is tried at once in another network, though it was not to be reached in the last', async () => {
    const { box, link, clock } = await underTls({ refuses: true });
    void link.warm().catch(() => undefined);
    await twentyMinutes(clock);
    box.options = {};
    const before = box.connections;
    link.reset();
    await clock.pass(250);
    await expect.poll(() => box.connections).toBeGreaterThan(before);
  });
});
