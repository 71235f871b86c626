import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it, vi } from 'vitest';
import { Deployment } from '../../peer/deployment.ts';
import { Network } from '../../peer/network.ts';
import { SettingsFile } from '../../peer/settings.ts';
import { Peer, Rendezvous } from '../../src/index.ts';
import { systemClock } from '../../src/net/clock.ts';
import { freshIdentity } from './meeting.ts';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const closer of closers.splice(0).reverse()) await closer();
});

async function rendezvousWith(options: { relay?: boolean }): Promise<Rendezvous> {
  const home = mkdtempSync(join(tmpdir(), 'sallyport-early-relay-'));
  closers.push(() => rmSync(home, { recursive: true, force: true }));
  const rendezvous = await Rendezvous.start({
    listen: '127.0.0.1:0',
    insecure: true,
    open: true,
    home,
    ...options,
  });
  closers.push(() => rendezvous.close());
  return rendezvous;
}

async function peerAt(rendezvous: string): Promise<Peer> {
  const home = mkdtempSync(join(tmpdir(), 'sallyport-early-relay-'));
  closers.push(() => rmSync(home, { recursive: true, force: true }));
  const peer = await Peer.start({ home, rendezvous });
  closers.push(() => peer.close());
  return peer;
}

/** A way to a rendezvous. */
class Gate {
  readonly url: string;
  /** What its connections asked for first, by path, … */
  readonly asked: string[] = [];
  /** … and those that have not ended. */
  readonly open = new Set<string>();
  readonly #held = new Set<() => void>();
  readonly #sockets = new Map<string, Socket>();

  /** @param mayAnswer the rendezvous's answers to what asked for `/v1/signal` wait until then */
  static async before(rendezvous: Rendezvous, mayAnswer: (asked: readonly string[]) => boolean) {
    const server = createServer((near) => gate.#carry(near, Number(new URL(rendezvous.url).port), mayAnswer));
    await once(server.listen(0, '127.0.0.1'), 'listening');
    closers.push(() => server.close());
    const gate = new Gate(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    return gate;
  }

  private constructor(url: string) {
    this.url = url;
  }

  /** Ends the last connection that asked for that path. */
  cut(path: string): void {
    this.#sockets.get(path)?.destroy();
  }

  #carry(near: Socket, port: number, mayAnswer: (asked: readonly string[]) => boolean): void {
    const far = connect(port, '127.0.0.1');
    near.on('error', () => far.destroy()).on('close', () => far.destroy());
    far.on('error', () => near.destroy()).on('close', () => near.destroy());
    near.once('data', (chunk: Buffer) => {
      const path = / (\S+) /.exec(chunk.toString('latin1'))?.[1] ?? '';
      this.asked.push(path);
      this.open.add(path);
      this.#sockets.set(path, near);
      near.once('close', () => this.open.delete(path));
      far.write(chunk);
      near.pipe(far);
      if (path === '/v1/signal') this.#held.add(() => far.pipe(near));
      else far.pipe(near);
      if (!mayAnswer(this.asked)) return;
      for (const answer of this.#held) answer();
      this.#held.clear();
    });
  }
}

it(
  'a peer connects to the relay at its rendezvous while it registers there',
  { timeout: 20_000 },
  async () => {
    // Nothing of the registration is answered before that connection is there.
    const gate = await Gate.before(await rendezvousWith({}), (asked) => asked.includes('/v1/circuit'));
    const peer = await peerAt(gate.url);
    expect(peer.deployment.hasRelays).toBe(true);
    expect([...gate.open].toSorted()).toEqual(['/v1/circuit', '/v1/signal']);
  },
);

it('a peer leaves a rendezvous alone that relays nothing', async () => {
  const gate = await Gate.before(await rendezvousWith({ relay: false }), () => true);
  const peer = await peerAt(gate.url);
  expect(peer.deployment.hasRelays).toBe(false);
  await expect.poll(() => [...gate.open]).toEqual(['/v1/signal']);
});

it('is closed before the rendezvous has said whether a relay is there leaves it as well', async () => {
  const signals = (asked: readonly string[]) => asked.filter((path) => path === '/v1/signal').length;
  const gate = await Gate.before(await rendezvousWith({}), (asked) => signals(asked) < 2);
  const home = mkdtempSync(join(tmpdir(), 'sallyport-early-relay-'));
  closers.push(() => rmSync(home, { recursive: true, force: true }));
  const network = await Network.open(systemClock, { mapPorts: false });
  closers.push(() => network.close());
  const deployment = await Deployment.join({
    identity: freshIdentity(),
    settings: new SettingsFile(join(home, 'settings.json')),
    clock: systemClock,
    rendezvous: gate.url,
    // What is waited for once registered; and meanwhile the registration is lost, and asked for again.
    get network() {
      gate.cut('/v1/signal');
      return vi.waitFor(() => expect(signals(gate.asked)).toBe(2), 5_000).then(() => network);
    },
  });
  expect(deployment.registered).toBe(false);
  await expect.poll(() => gate.open.has('/v1/circuit')).toBe(true);
  deployment.close();
  await expect.poll(() => [...gate.open], { timeout: 5_000 }).toEqual([]);
});
