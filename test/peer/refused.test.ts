import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { Peer } from '../../src/index.ts';
import type { ToNode } from '../../src/core/protocol/rendezvous.ts';
import { Front } from '../../src/net/front.ts';
import { serverClock } from '../../src/net/server-clock.ts';
import { SignalServer } from '../../rendezvous/signal-server.ts';
import { RunningCommand } from '../e2e/commands.ts';
import { freshIdentity } from './meeting.ts';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

/** A rendezvous that takes a registration back for good, right behind what `after` says. */
async function fickleRendezvous(after: ToNode['t']): Promise<{ url: string; home: string }> {
  const home = mkdtempSync(join(tmpdir(), 'sallyport-fickle-'));
  const front = await Front.listen({ host: '127.0.0.1', port: 0, tls: undefined, about: '' });
  const stun = { udp: [], tcp: [] };
  const random = (length: number) => new Uint8Array(length);
  const deployment = freshIdentity();
  const options = {
    deployment,
    stun,
    random,
    token: undefined,
    relayToken: undefined,
    builtInRelay: undefined,
  };
  const server = new SignalServer(front, options, serverClock, () => {});
  const { registry } = server;
  const poll = registry.poll.bind(registry);
  let next: ReturnType<typeof poll>;
  registry.poll = () => {
    const output = next ?? poll();
    next = undefined;
    if (output?.type === 'send' && output.message.t === after) {
      const message = { t: 'error', code: 'TOKEN_INVALID', message: 'no more' } as const;
      next = { ...output, message };
    }
    return output;
  };
  closers.push(async () => {
    server.close();
    await front.close();
    rmSync(home, { recursive: true });
  });
  return { url: `http://127.0.0.1:${front.endpoint.port}`, home };
}

it('a peer whose registration is taken back as it starts does not start', async () => {
  const { url: rendezvous, home } = await fickleRendezvous('registered');
  await expect(Peer.start({ home, rendezvous })).rejects.toMatchObject({ code: 'TOKEN_INVALID' });
});

it('a peer whose registration was taken back tells who asks later', async () => {
  const { url: rendezvous, home } = await fickleRendezvous('resolved');
  const peer = await Peer.start({ home, rendezvous });
  closers.push(() => peer.close());
  expect(peer.failure).toBeUndefined();
  await expect(peer.connect('somebody')).rejects.toMatchObject({ code: 'PEER_OFFLINE' });
  await expect.poll(() => peer.registered).toBe(false);
  expect(peer.failure).toMatchObject({ code: 'TOKEN_INVALID' });
});

it.each(['registered', 'pong'] as const)('peer up ends, refused behind "%s"', async (after) => {
  const { url, home } = await fickleRendezvous(after);
  const up = new RunningCommand('peer', ['up', '--home', home, '--rendezvous', url, '--json']);
  closers.push(() => up.stop('SIGKILL'));
  expect(await up.ended).toMatchObject({ status: 3 });
  expect(up.events.at(-1)).toMatchObject({ event: 'error', code: 'TOKEN_INVALID' });
});
