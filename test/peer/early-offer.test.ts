import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Peer, Rendezvous } from '../../src/index.ts';

const closers: (() => unknown)[] = [];
let folder: string;
let rendezvous: Rendezvous;
let bob: Peer;

/** What a connection to the rendezvous meets once the node has answered the challenge. */
type Obstacle = 'none' | 'answers-wait' | 'nothing-passes' | 'cut';

/** By then it has asked for its registration, and offered. */
const CUT_MS = 100;

/** A way to the rendezvous, on which one thing after another stands before each registration. */
class Gate {
  readonly #obstacles: Obstacle[];
  readonly #held = new Set<() => void>();
  url = '';

  private constructor(obstacles: readonly Obstacle[]) {
    this.#obstacles = [...obstacles];
  }

  static async with(...obstacles: Obstacle[]): Promise<Gate> {
    const gate = new Gate(obstacles);
    const server = createServer((near) => gate.#carry(near));
    await once(server.listen(0, '127.0.0.1'), 'listening');
    closers.push(() => server.close());
    gate.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    return gate;
  }

  /** Answers that wait arrive. */
  release(): void {
    for (const pass of this.#held) pass();
  }

  #carry(near: Socket): void {
    const far = connect(Number(new URL(rendezvous.url).port), '127.0.0.1');
    near.on('error', () => far.destroy()).on('close', () => far.destroy());
    far.on('error', () => near.destroy()).on('close', () => near.destroy());
    let obstacle: Obstacle | undefined;
    let isChallenged = false;
    let isAnswered = false;
    const waiting: Buffer[] = [];
    this.#held.add(() => {
      obstacle = 'none';
      for (const chunk of waiting.splice(0)) near.write(chunk);
    });
    near.on('data', (chunk: Buffer) => {
      if (chunk.includes('GET /v1/signal')) obstacle = this.#obstacles.shift() ?? 'none';
      isAnswered ||= isChallenged;
      if (isAnswered && obstacle === 'cut') return void setTimeout(() => near.destroy(), CUT_MS);
      if (!isAnswered || obstacle !== 'nothing-passes') far.write(chunk);
    });
    far.on('data', (chunk: Buffer) => {
      isChallenged ||= chunk.includes('challenge');
      if (isAnswered && obstacle === 'answers-wait') waiting.push(chunk);
      else near.write(chunk);
    });
  }
}

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-early-offer-'));
  closers.push(() => rmSync(folder, { recursive: true, force: true }));
  const home = join(folder, 'r');
  rendezvous = await Rendezvous.start({ listen: '127.0.0.1:0', insecure: true, home });
  closers.push(() => rendezvous.close());
  bob = await Peer.start({ home: join(folder, 'bob'), rendezvous: rendezvous.joinUrl, allow: ['any'] });
  closers.push(() => bob.close());
});
afterEach(async () => {
  for (const closer of closers.splice(0).reverse()) await closer();
});

async function open(gate: Gate, role: 'dial' | 'listen' = 'dial', token?: string): Promise<Peer> {
  const { hash } = new URL(rendezvous.joinUrl);
  const url = gate.url + (token === undefined ? hash : hash.replace(/token=.*/, `token=${token}`));
  const peer = await Peer.open({ home: join(folder, 'alice'), rendezvous: url, role });
  closers.push(() => peer.close());
  return peer;
}

describe('an offer before its maker is registered', { timeout: 30_000 }, () => {
  it('reaches the peer, whose answer is read behind the registration', async () => {
    const gate = await Gate.with('answers-wait');
    const alice = await open(gate);
    const told: string[] = [];
    alice.on('registered', () => told.push('registered'));
    alice.on('session', () => told.push('session'));
    const offered = once(bob, 'session');
    const connecting = alice.connect(bob.id, { paths: ['relay'] });
    await offered;
    expect(alice.registered).toBe(false);
    gate.release();
    await alice.whenRegistered();
    expect((await connecting).peer).toBe(bob.id);
    expect(told).toEqual(['registered', 'session']);
    expect(bob.sessions).toHaveLength(1);
  });

  it('is made anew where another connection was registered than the one that it left by', async () => {
    const alice = await open(await Gate.with('nothing-passes'));
    const connecting = alice.connect(bob.id, { paths: ['relay'] });
    await alice.whenRegistered();
    expect((await connecting).peer).toBe(bob.id);
  });

  it('is made anew where it left by a connection that broke off before any was registered', async () => {
    const alice = await open(await Gate.with('cut'));
    const connecting = alice.connect(bob.id, { paths: ['relay'] });
    await expect(alice.whenRegistered()).rejects.toMatchObject({ code: 'RENDEZVOUS_UNREACHABLE' });
    expect((await connecting).peer).toBe(bob.id);
  });

  it('comes to nothing where its maker isn’t admitted', async () => {
    const alice = await open(await Gate.with(), 'dial', 'another');
    const connecting = alice.connect(bob.id);
    await expect(alice.whenRegistered()).rejects.toMatchObject({ code: 'TOKEN_INVALID' });
    await Promise.all([expect(connecting).rejects.toThrow(), alice.close()]);
    expect(bob.sessions).toEqual([]);
  });

  it('is made without a relay also by a peer that was registered at a later attempt', async () => {
    const alice = await open(await Gate.with('cut'));
    await expect(alice.whenRegistered()).rejects.toMatchObject({ code: 'RENDEZVOUS_UNREACHABLE' });
    await expect.poll(() => alice.registered, { timeout: 10_000 }).toBe(true);
    expect((await alice.connect(bob.id, { paths: ['udp', 'tcp'] })).peer).toBe(bob.id);
  });

  it('waits where it needs what only a registered peer is told: its mapping', async () => {
    const gate = await Gate.with('answers-wait');
    const alice = await open(gate);
    let isOffered = false;
    bob.once('session', () => (isOffered = true));
    const connecting = alice.connect(bob.id, { paths: ['udp'] });
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(isOffered).toBe(false);
    gate.release();
    expect((await connecting).peer).toBe(bob.id);
    expect(isOffered).toBe(true);
  });

  it('is not made by a peer that listens, which may have to wait for another', async () => {
    const gate = await Gate.with('answers-wait');
    const opening = open(gate, 'listen');
    let isOpen = false;
    void opening.then(() => (isOpen = true));
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(isOpen).toBe(false);
    gate.release();
    expect((await opening).registered).toBe(true);
  });

  it('is given up with the peer', async () => {
    const alice = await open(await Gate.with('answers-wait'));
    const waiting = [alice.connect(bob.id), alice.whenRegistered()];
    const [settled] = await Promise.all([Promise.allSettled(waiting), alice.close()]);
    const closed = { status: 'rejected', reason: { code: 'SESSION_CLOSED' } };
    expect(settled).toMatchObject([closed, closed]);
    await expect(alice.whenRegistered()).rejects.toMatchObject({ code: 'SESSION_CLOSED' });
  });
});
