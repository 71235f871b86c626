import { describe, expect, it } from 'vitest';
import { encodeHeader, FrameType } from '../../../src/core/session/frame.ts';
import { encodeWindow } from '../../../src/core/session/payload.ts';
import { SendBudget } from '../../../src/core/session/send-budget.ts';
import { RawPeer } from './raw-peer.ts';

const MIB = 1024 * 1024;
const CHUNK = Buffer.alloc(64 * 1024);

describe('a peer that keeps to the letter of the protocol', () => {
  it('has no more kept for it to be sent again than a session window, whatever it grants and however late it answers', () => {
    const peer = new RawPeer({ limits: { maxSessionWindow: 2 * MIB } });
    const bytesSent = (): number => peer.sent.reduce((sum, { length }) => sum + length, 0);
    peer.send(FrameType.OPEN, 1);
    for (const stream of [0, 1]) peer.send(FrameType.WINDOW, stream, encodeWindow(2 ** 50));
    const chunks = Array.from({ length: 64 }, () => Buffer.alloc(MIB));
    peer.handle({ type: 'write', stream: 1, chunks });
    // A round trip of a second, and every byte acknowledged as soon as it is sent.
    peer.pass(1_000);
    for (const token of [0, 1, 2]) peer.raw(encodeHeader(FrameType.PONG, 0, 0, token));
    let most = 0;
    for (let round = 0; round < 30; round++) {
      const before = bytesSent();
      peer.acknowledge();
      most = Math.max(most, bytesSent() - before);
    }
    expect(peer.closed).toBeUndefined();
    expect(most).toBeGreaterThan(MIB);
    expect(most).toBeLessThan(2.1 * MIB);
  });

  it('has less and less queued for each stream that it does not read, and all of it when it does', () => {
    const peer = new RawPeer({ limits: { sendBuffer: 4 * MIB } });
    const streams = Array.from({ length: 64 }, (_, index) => 2 * index + 1);
    for (const stream of streams) peer.send(FrameType.OPEN, stream);
    const left = new Map(streams.map((stream) => [stream, MIB]));
    /** Each writes its next chunk once it may, as a target's socket does. */
    const write = (stream: number): void => {
      if (left.get(stream) === 0) return;
      left.set(stream, left.get(stream)! - CHUNK.length);
      peer.handle({ type: 'write', stream, chunks: [CHUNK] });
    };
    let seen = 0;
    const writeAll = (): void => {
      for (; seen < peer.outputs.length; seen++) {
        const output = peer.outputs[seen]!;
        if (output.type === 'drained') write(output.stream);
      }
    };
    for (const stream of streams) write(stream);
    writeAll();
    const taken = (): number => streams.reduce((sum, stream) => sum + MIB - left.get(stream)!, 0);
    expect(taken()).toBeLessThan(4 * MIB + (streams.length + 1) * CHUNK.length);
    for (const stream of [0, ...streams]) peer.send(FrameType.WINDOW, stream, encodeWindow(2 ** 40));
    for (let round = 0; round < 10_000 && taken() < streams.length * MIB; round++) {
      peer.acknowledge();
      writeAll();
    }
    expect(taken()).toBe(streams.length * MIB);
  });

  it('has less and less queued for each stream, too, the more waits in other sessions', () => {
    const limit = 4 * MIB;
    const sendBudget = new SendBudget(limit);
    const unread = Array.from({ length: 128 }, () => new Download(sendBudget, 0));
    for (const download of unread) download.acknowledge(30);
    expect(limit - sendBudget.left).toBeLessThan(limit + unread.length * CHUNK.length);
  });

  it('has no more kept in all its sessions than the process has to give, and others go on beside them', () => {
    const limit = 16 * MIB;
    const sendBudget = new SendBudget(limit);
    const greedy = Array.from({ length: 24 }, () => new Download(sendBudget));
    for (const download of greedy) download.acknowledge(5);
    // They stop. What a session needs to go on it has in any case: its first window, and a chunk or two of its stream.
    expect(limit - sendBudget.left).toBeLessThan(limit + greedy.length * 1.25 * MIB);
    const honest = new Download(sendBudget);
    const before = honest.taken;
    honest.acknowledge(100);
    expect(honest.taken - before).toBeGreaterThan(2 * MIB);
    for (const { peer } of [...greedy, honest]) peer.handle({ type: 'abort', code: 'ABORTED', message: '' });
    expect(sendBudget.left).toBe(limit);
  });
});

/** A stream of our end's that always has more to write, and a peer that grants whatever it likes over a round trip of a second. */
class Download {
  readonly peer: RawPeer;
  /** Bytes that its stream was given. */
  taken = 0;
  #seen = 0;

  constructor(sendBudget: SendBudget, granted = 2 ** 50) {
    this.peer = new RawPeer({ sendBudget });
    this.peer.send(FrameType.OPEN, 1);
    for (const stream of [0, 1]) this.peer.send(FrameType.WINDOW, stream, encodeWindow(granted));
    this.#write();
    this.peer.pass(1_000);
    for (const token of [0, 1, 2]) this.peer.raw(encodeHeader(FrameType.PONG, 0, 0, token));
  }

  acknowledge(rounds: number): void {
    for (let round = 0; round < rounds; round++) {
      this.peer.acknowledge();
      const { outputs } = this.peer;
      for (; this.#seen < outputs.length; this.#seen++)
        if (outputs[this.#seen]!.type === 'drained') this.#write();
    }
  }

  #write(): void {
    this.taken += CHUNK.length;
    this.peer.handle({ type: 'write', stream: 1, chunks: [CHUNK] });
  }
}
