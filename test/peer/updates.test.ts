import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Session } from '../../peer/session.ts';
import { Updates } from '../../peer/updates.ts';
import { SallyportError } from '../../src/core/errors.ts';
import { identityFromSeed } from '../../src/core/identity.ts';
import type { ToRendezvous } from '../../src/core/protocol/rendezvous.ts';
import type { Round, Update } from '../../src/core/session/introduction.ts';
import { SessionKeys } from '../../src/core/session/keys.ts';
import type { SessionRole } from '../../src/core/session/role.ts';
import { systemClock } from '../../src/net/clock.ts';
import { memoryPair } from '../net/pipes.ts';

const keys = SessionKeys.first({ splitKeys: new Uint8Array(64).fill(1), hash: new Uint8Array(64).fill(2) });
const id = new Uint8Array(16).fill(3);
const peer = identityFromSeed(new Uint8Array(32).fill(4)).id;

/** One end, and what it has given to the rendezvous and heard from the other. */
class End {
  readonly session: Session;
  readonly updates: Updates;
  readonly boxes: { box: Uint8Array; instance: Uint8Array }[] = [];
  readonly heard: (number | undefined)[] = [];
  /** The rendezvous is there. */
  online = true;

  constructor(role: SessionRole) {
    this.session = new Session({ role, id, peer, keys, kinds: ['udp', 'relay'], clock: systemClock });
    this.updates = new Updates({
      session: this.session,
      id,
      keys,
      instance: Uint8Array.of(0),
      deployment: { send: (message) => this.#carry(message) },
      clock: systemClock,
      onUpdate: ({ round }: Update) => this.heard.push(round?.number),
    });
  }

  #carry(message: ToRendezvous): boolean {
    if (this.online && message.t === 'trickle') this.boxes.push(message);
    return this.online;
  }

  say(number: number): boolean {
    const round: Round = { number, start: { at: 1, roundTripMs: 1 } };
    return this.updates.send({ round });
  }
}

let [a, b]: [End, End] = [undefined!, undefined!];
beforeEach(() => {
  [a, b] = [new End('initiator'), new End('responder')];
});
afterEach(() => {
  for (const { session } of [a, b]) session.driver.destroy();
});

async function connect(): Promise<void> {
  const { near: here, far: there } = memoryPair();
  const path = { kind: 'udp', local: '', remote: '', technique: '', lan: false, rttMs: 1 } as const;
  a.session.addDirectPath({ ...path, pipe: here });
  b.session.addDirectPath({ ...path, pipe: there });
  await expect.poll(() => a.session.path && b.session.path).toBeDefined();
}

describe('updates of a session', () => {
  it('go sealed through the rendezvous while there is no path, and to where the peer was heard of last', () => {
    expect(a.say(1)).toBe(true);
    const { box } = a.boxes[0]!;
    b.updates.open(box, Uint8Array.of(5));
    expect(b.heard).toEqual([1]);
    b.say(2);
    expect(b.boxes[0]!.instance).toEqual(Uint8Array.of(5));
  });

  it('count once, and not where they were changed or come back to their sender', () => {
    a.say(1);
    const { box } = a.boxes[0]!;
    const changed = box.map((byte) => byte ^ 1);
    expect(() => a.updates.open(box, Uint8Array.of(6))).toThrow(SallyportError);
    expect(() => b.updates.open(changed, Uint8Array.of(6))).toThrow(SallyportError);
    b.updates.open(box, Uint8Array.of(5));
    b.updates.open(box, Uint8Array.of(6));
    expect([a.heard, b.heard]).toEqual([[], [1]]);
    expect([a.updates.instance, b.updates.instance]).toEqual([Uint8Array.of(0), Uint8Array.of(5)]);
  });

  it('go by the session itself once it has a path, rendezvous or not', async () => {
    a.online = false;
    expect(a.say(1)).toBe(false);
    await connect();
    expect([2, 3].map((number) => a.say(number))).toEqual([true, true]);
    await expect.poll(() => b.heard).toEqual([2, 3]);
  });

  it('go through the rendezvous as well, for the path may be dead already', async () => {
    await connect();
    a.say(1);
    expect(a.boxes).toHaveLength(1);
  });

  it('are heard as fast as a network may change, and not faster', async () => {
    for (let number = 1; number <= 300; number += 1) a.say(number);
    for (const { box } of a.boxes) b.updates.open(box, Uint8Array.of(5));
    expect(b.heard.length).toBeGreaterThanOrEqual(100);
    expect(b.heard.length).toBeLessThan(200);
  });
});
