import { describe, expect, it } from 'vitest';
import { Batch } from '../../../src/core/session/batch.ts';
import { DatagramQueue } from '../../../src/core/session/datagram-queue.ts';

function queueOf(count: number, most: number): DatagramQueue {
  const queue = new DatagramQueue(most);
  for (let index = 0; index < count; index += 1) queue.push(Buffer.from([index]));
  return queue;
}

/** The first bytes of the datagrams in one batch. */
function fill(queue: DatagramQueue, room: number): number[] {
  const batch = new Batch();
  queue.addTo(batch, room);
  return batch.chunks.filter(({ length }) => length === 1).map((datagram) => datagram[0]!);
}

describe('the queue of datagrams', () => {
  it('drops the oldest of too many, and counts it', () => {
    const queue = queueOf(5, 3);
    expect(queue.dropped).toBe(2);
    expect(fill(queue, 1000)).toEqual([2, 3, 4]);
  });

  it('leaves the rest to the next batch when the room is used up', () => {
    const queue = queueOf(4, 10);
    expect(fill(queue, 20)).toEqual([0, 1]);
    expect(fill(queue, 1000)).toEqual([2, 3]);
    expect(fill(queue, 1000)).toEqual([]);
  });
});
