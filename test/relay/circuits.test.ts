import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { identityFromSeed } from '../../src/core/identity.ts';
import type { TicketOpening } from '../../src/core/protocol/ticket.ts';
import type { CircuitsInput, CircuitsLimits, CircuitsOutput } from '../../relay/circuit-events.ts';
import { Circuits } from '../../relay/circuits.ts';

function bytes(words: string, length: number): Uint8Array {
  return new Uint8Array(createHash('sha512').update(words).digest().subarray(0, length));
}

function peer(name: string) {
  return identityFromSeed(bytes(name, 32)).id;
}

/** The circuits in virtual time; what they put out is kept as short words. */
class World {
  now = 0;
  readonly circuits: Circuits;
  readonly log: string[] = [];
  #legs = 0;

  constructor(limits: Partial<CircuitsLimits> = {}) {
    this.circuits = new Circuits(limits);
  }

  open(
    side: 0 | 1,
    { circuit = 'c', random = `${this.#legs}`, of = side === 0 ? 'alice' : 'bob', rate = 0 } = {},
  ) {
    const leg = this.#legs++;
    const ticket = {
      circuit: bytes(circuit, 16),
      leg: side,
      peer: peer(of),
      relay: peer('relay'),
      expires: 120_000,
      bytesPerSecond: rate,
    };
    const opening: TicketOpening = {
      ticket,
      bytes: bytes(`${circuit} ${side}`, 64),
      random: bytes(random, 16),
    };
    this.input({ type: 'open', leg, opening });
    return leg;
  }

  input(input: CircuitsInput): void {
    this.circuits.handle(input, this.now);
    this.#drain();
  }

  advance(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      const due = this.circuits.deadline;
      if (due === undefined || due > end) break;
      this.now = Math.max(this.now, due);
      this.circuits.handleTimeout(this.now);
      this.#drain();
    }
    this.now = end;
  }

  /** What has come out since the last call. */
  out(): string[] {
    return this.log.splice(0);
  }

  #drain(): void {
    for (let output = this.circuits.poll(); output; output = this.circuits.poll())
      this.log.push(inWords(output));
  }
}

function inWords(output: CircuitsOutput): string {
  switch (output.type) {
    case 'splice':
      return `splice ${output.legs.join(' ')}`;
    case 'refuse':
      return `refuse ${output.leg} ${output.error.code}`;
    case 'drop':
      return `drop ${output.leg} ${output.reason}`;
    case 'accept':
    case 'pause':
    case 'resume':
      return `${output.type} ${output.leg}`;
  }
}

describe('circuits', () => {
  it('splice the two legs of one circuit, whichever comes first', () => {
    const world = new World();
    world.open(1);
    world.open(0);
    expect(world.out()).toEqual(['accept 0', 'accept 1', 'splice 1 0']);
  });

  it('never join legs of different circuits', () => {
    const world = new World();
    world.open(0, { circuit: 'one' });
    world.open(1, { circuit: 'two' });
    expect(world.out()).toEqual(['accept 0', 'accept 1']);
  });

  it('end the partner of a leg that is gone', () => {
    const world = new World();
    const alice = world.open(0);
    const bob = world.open(1);
    world.out();
    world.input({ type: 'closed', leg: alice });
    expect(world.out()).toEqual([`drop ${bob} partner gone`]);
    expect(world.circuits.size).toBe(0);
  });

  it('end the old pair when one of them opens anew, and join the new ones', () => {
    const world = new World();
    world.open(0);
    world.open(1);
    world.out();
    world.open(0);
    expect(world.out()).toEqual(['drop 0 replaced', 'drop 1 replaced', 'accept 2']);
    world.open(1);
    expect(world.out()).toEqual(['accept 3', 'splice 2 3']);
  });

  it('put a waiting leg in the place of an earlier one', () => {
    const world = new World();
    world.open(0);
    world.open(0);
    world.open(1);
    expect(world.out()).toEqual(['accept 0', 'drop 0 replaced', 'accept 1', 'accept 2', 'splice 1 2']);
  });

  it('open once for one ticket and random, also after the circuit has ended', () => {
    const world = new World();
    const leg = world.open(0, { random: 'same' });
    world.input({ type: 'closed', leg });
    world.open(0, { random: 'same' });
    expect(world.out()).toEqual(['accept 0', 'refuse 1 TICKET_INVALID']);
  });

  it('forget openings once their tickets have expired, and then sleep', () => {
    const world = new World();
    world.input({ type: 'closed', leg: world.open(0) });
    world.advance(110_000);
    expect(world.circuits.deadline).toBeDefined();
    world.advance(20_000);
    expect(world.circuits.deadline).toBeUndefined();
  });

  it('let a leg wait for ten seconds', () => {
    const world = new World();
    world.open(0);
    world.advance(9_500);
    expect(world.out()).toEqual(['accept 0']);
    world.advance(2_000);
    expect(world.out()).toEqual(['drop 0 partner never came']);
  });

  it('end a pair that has been idle for two minutes, and none that moves', () => {
    const world = new World();
    const alice = world.open(0);
    world.open(1);
    for (let i = 0; i < 10; i++) {
      world.advance(60_000);
      world.input({ type: 'bytes', leg: alice, count: 1 });
    }
    expect(world.out()).toEqual(['accept 0', 'accept 1', 'splice 0 1']);
    world.advance(121_000);
    expect(world.out()).toEqual(['drop 0 idle', 'drop 1 idle']);
  });
});

describe('rates', () => {
  it('hold a leg back as long as its circuit is in debt', () => {
    const world = new World({ circuitBytesPerSecond: 1_000 });
    const alice = world.open(0);
    world.open(1);
    world.out();
    world.input({ type: 'bytes', leg: alice, count: 1_000 });
    expect(world.out()).toEqual([]);
    world.input({ type: 'bytes', leg: alice, count: 3_000 });
    expect(world.out()).toEqual(['pause 0']);
    world.advance(2_900);
    expect(world.out()).toEqual([]);
    world.advance(200);
    expect(world.out()).toEqual(['resume 0']);
  });

  it('prefer the rate that the ticket names', () => {
    const world = new World();
    const alice = world.open(0, { rate: 100 });
    world.open(1, { rate: 100 });
    world.out();
    world.input({ type: 'bytes', leg: alice, count: 300 });
    expect(world.out()).toEqual(['pause 0']);
  });

  it('count all circuits of one peer together', () => {
    const world = new World({ peerBytesPerSecond: 1_000 });
    const [one, two] = [world.open(0, { circuit: 'one' }), world.open(0, { circuit: 'two' })];
    world.out();
    world.input({ type: 'bytes', leg: one, count: 900 });
    world.input({ type: 'bytes', leg: two, count: 900 });
    expect(world.out()).toEqual([`pause ${two}`]);
  });
});

describe('caps', () => {
  const refusals = (world: World) => world.out().filter((words) => words.startsWith('refuse'));
  const many = { openingsBurst: 10_000 };

  it('bound what one peer may open in a second', () => {
    const world = new World({ openingsBurst: 3, openingsPerSecond: 1 });
    for (let i = 0; i < 4; i++) world.open(0, { circuit: `${i}` });
    expect(refusals(world)).toEqual(['refuse 3 RATE_LIMITED']);
    world.open(1, { circuit: '0' });
    expect(refusals(world)).toEqual([]);
  });

  it('bound the waiting legs of one peer', () => {
    const world = new World({ ...many, waitingLegsPerPeer: 2 });
    for (let i = 0; i < 3; i++) world.open(0, { circuit: `${i}` });
    expect(refusals(world)).toEqual(['refuse 2 LIMIT']);
  });

  it('bound the legs of one peer, but let it re-open those it has', () => {
    const world = new World({ ...many, legsPerPeer: 2 });
    for (let i = 0; i < 3; i++) {
      world.open(1, { circuit: `${i}`, of: `bob ${i}` });
      world.open(0, { circuit: `${i}` });
    }
    expect(refusals(world)).toEqual(['refuse 5 LIMIT']);
    world.open(0, { circuit: '0' });
    expect(refusals(world)).toEqual([]);
  });

  it('bound the circuits of the relay', () => {
    const world = new World({ ...many, circuits: 2 });
    for (let i = 0; i < 3; i++) world.open(0, { circuit: `${i}`, of: `peer ${i}` });
    expect(refusals(world)).toEqual(['refuse 2 LIMIT']);
  });
});
