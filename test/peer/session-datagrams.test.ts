import { EventEmitter } from 'node:events';
import { beforeEach, describe, expect, it } from 'vitest';
import type { PathId } from '../../src/core/session/events.ts';
import { Opener, Sealer } from '../../src/core/session/keys.ts';
import { SessionDatagrams, type MessagePort } from '../../peer/session-datagrams.ts';
import { ManualClock } from './manual-clock.ts';

/** One end of a path; what is sent waits in `sent`. */
class Port extends EventEmitter<{ message: [Uint8Array] }> implements MessagePort {
  readonly sent: Uint8Array[] = [];
  maxMessageBytes = 1_200;

  sendMessage(bytes: Uint8Array): void {
    this.sent.push(bytes);
  }
}

const STREAM = 7;
const [there, back] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)];
let alice: SessionDatagrams;
let bob: SessionDatagrams;
let alicePort: Port;
let bobPort: Port;
let got: string[];
let clock: ManualClock;

beforeEach(() => {
  clock = new ManualClock();
  alice = new SessionDatagrams(new Sealer(there), new Opener(back), clock);
  bob = new SessionDatagrams(new Sealer(back), new Opener(there), clock);
  [alicePort, bobPort, got] = [new Port(), new Port(), []];
  alice.addPath(1, alicePort);
  bob.addPath(1, bobPort);
  bob.take(STREAM, (bytes) => got.push(Buffer.from(bytes).toString()));
});

const send = (words: string, stream = STREAM) => alice.send(stream, Buffer.from(words));

describe('datagrams beside the streams', () => {
  it('wait for a path that is confirmed, and end with it', () => {
    expect(send('early')).toBe(false);
    alice.pathUp(1);
    expect(send('now')).toBe(true);
    alice.pathDown(1);
    expect(send('late')).toBe(false);
    expect(alicePort.sent).toHaveLength(1);
  });

  it('reach their own stream, in whatever order they come, each once', () => {
    alice.pathUp(1);
    for (const words of ['a', 'b', '', 'd']) send(words);
    send('other', 9);
    for (const index of [3, 0, 3, 2, 4, 0]) bobPort.emit('message', alicePort.sent[index]!);
    expect(got).toEqual(['d', 'a', '']);
  });

  it('that were changed, or are not from the peer, are dropped', () => {
    alice.pathUp(1);
    send('a');
    const box = alicePort.sent[0]!;
    for (let at = 0; at < box.length; at += 1) {
      const changed = Uint8Array.from(box);
      changed[at]! ^= 1;
      bobPort.emit('message', changed);
      bobPort.emit('message', box.subarray(0, at));
    }
    alicePort.emit('message', box); // reflected
    expect(got).toEqual([]);
    bobPort.emit('message', box);
    expect(got).toEqual(['a']);
  });

  it('tell by which path a check was answered, by that path alone', () => {
    const answered: number[] = [];
    const [second, other] = [new Port(), new Port()];
    alice.onAnswered = (path) => answered.push(path);
    alice.addPath(2, second);
    bob.addPath(5, other);
    alice.check(2);
    expect(alicePort.sent).toEqual([]);
    other.emit('message', second.sent[0]!);
    expect(bobPort.sent).toEqual([]);
    second.emit('message', other.sent[0]!);
    second.emit('message', other.sent[0]!);
    expect(answered).toEqual([2]);
    expect(got).toEqual([]);
  });

  describe('that a path takes, while nothing comes by it,', () => {
    const doubted: PathId[] = [];
    beforeEach(() => {
      doubted.length = 0;
      alice.onSilence = (path) => doubted.push(path);
      alice.pathUp(1);
    });

    it('cast doubt on it after seven checks, and then again', async () => {
      send('data');
      await clock.pass(2_249);
      expect([alicePort.sent.length, doubted]).toEqual([1 + 7, []]);
      await clock.pass(1);
      expect(doubted).toEqual([1]);
      send('data');
      await clock.pass(2_250);
      expect(doubted).toEqual([1, 1]);
    });

    it('cast none once anything of the other end has come by it', async () => {
      send('data');
      await clock.pass(2_000);
      bobPort.emit('message', alicePort.sent.at(-1)!); // a check
      alicePort.emit('message', bobPort.sent.at(-1)!);
      await clock.pass(10_000);
      expect(doubted).toEqual([]);
      send('data');
      alicePort.emit('message', Uint8Array.of(1)); // anybody's
      await clock.pass(2_250);
      expect(doubted).toEqual([1]);
    });

    it('are not waited for on a path that has ended', async () => {
      send('data');
      alice.pathDown(1);
      await clock.pass(10_000);
      expect([alicePort.sent.length, doubted]).toEqual([1, []]);
    });
  });

  it('that are too large for the path are left to the stream', () => {
    alice.pathUp(1);
    expect(send('x'.repeat(1_173))).toBe(false);
    expect(send('x'.repeat(1_172))).toBe(true);
    expect(alicePort.sent[0]!.length).toBe(1_200);
  });
});
