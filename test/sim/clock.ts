import assert from 'node:assert';
import type { Instant } from '../../src/core/machine.ts';

/** One pending event; `cancel` makes it never run. */
export interface Timer {
  cancel(): void;
}

/** A view of time that things can be scheduled on: the world's own, or one host's with its clock offset. */
export interface Timeline {
  readonly now: Instant;
  /** Runs `action` at `when`, or as the next event where `when` has passed. */
  at(when: Instant, action: () => void): Timer;
}

/** Virtual time: events run in order of their time, equal times in order of their scheduling. */
export class VirtualClock implements Timeline {
  #now: Instant = 0;
  #scheduled = 0;
  readonly #heap: ScheduledEvent[] = [];

  get now(): Instant {
    return this.#now;
  }

  /** The time of the next event, cancelled ones not counted; `undefined` when nothing is pending. */
  get next(): Instant | undefined {
    while (this.#heap[0]?.action === undefined && this.#heap.length > 0) pop(this.#heap);
    return this.#heap[0]?.at;
  }

  at(when: Instant, action: () => void): Timer {
    assert(!Number.isNaN(when), 'an event needs a time');
    const event = new ScheduledEvent(Math.max(when, this.#now), this.#scheduled++, action);
    push(this.#heap, event);
    return event;
  }

  after(milliseconds: number, action: () => void): Timer {
    return this.at(this.#now + milliseconds, action);
  }

  /** Runs the next event; false when nothing is pending. */
  step(): boolean {
    if (this.next === undefined) return false;
    const event = pop(this.#heap);
    this.#now = event.at;
    event.action?.();
    return true;
  }

  /** Moves time forward over an interval in which nothing happens. */
  advanceTo(when: Instant): void {
    assert(this.next === undefined || when <= this.next, 'events are pending before that time');
    this.#now = Math.max(this.#now, when);
  }
}

class ScheduledEvent implements Timer {
  readonly at: Instant;
  /** Breaks ties, so that runs are the same whatever the heap does. */
  readonly order: number;
  action: (() => void) | undefined;

  constructor(at: Instant, order: number, action: () => void) {
    this.at = at;
    this.order = order;
    this.action = action;
  }

  cancel(): void {
    this.action = undefined;
  }
}

function before(left: ScheduledEvent, right: ScheduledEvent): boolean {
  return left.at < right.at || (left.at === right.at && left.order < right.order);
}

function push(heap: ScheduledEvent[], event: ScheduledEvent): void {
  let index = heap.length;
  while (index > 0) {
    const parent = (index - 1) >> 1;
    const above = heap[parent]!;
    if (!before(event, above)) break;
    heap[index] = above;
    index = parent;
  }
  heap[index] = event;
}

function pop(heap: ScheduledEvent[]): ScheduledEvent {
  const first = heap[0]!;
  const last = heap.pop()!;
  if (heap.length > 0) siftDown(heap, last);
  return first;
}

function siftDown(heap: ScheduledEvent[], event: ScheduledEvent): void {
  let index = 0;
  for (;;) {
    let child = 2 * index + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
    if (!before(heap[child]!, event)) break;
    heap[index] = heap[child]!;
    index = child;
  }
  heap[index] = event;
}
