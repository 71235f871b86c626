import { describe, expect, it } from 'vitest';
import { Turns } from '../../../src/core/punch/turns.ts';

const T0 = 10_000;
const SLOT_MS = 250;

describe('the turns of two held ports', () => {
  const turns = new Turns(T0, 40);

  it.each([
    [0, undefined],
    [7, undefined],
    [8, 'responder'],
    [11, 'responder'],
    [12, 'initiator'],
    [15, 'initiator'],
    [16, undefined],
    [24, 'responder'],
  ])('are, in slot %i, that %s listens', (slot, listener) => {
    expect(turns.listener(T0 + slot * SLOT_MS)).toBe(listener);
    expect(turns.listener(T0 + (slot + 1) * SLOT_MS - 1)).toBe(listener);
  });

  it('begin at T0', () => {
    expect(turns.listener(T0 - 5_000)).toBeUndefined();
    expect(turns.nextSlotAt(T0 - 5_000)).toBe(T0);
    expect(turns.nextSlotAt(T0)).toBe(T0 + SLOT_MS);
  });

  it('change only when a turn was announced to end', () => {
    let turnEnds = turns.nextTurnAt(T0);
    let listener = turns.listener(T0);
    for (let now = T0; now < T0 + 10_000; now += 10) {
      if (now >= turnEnds) {
        turnEnds = turns.nextTurnAt(now);
        listener = turns.listener(now);
      }
      expect(turns.listener(now)).toBe(listener);
    }
  });

  it('take longer on a longer way, so that each SYN has time to cross', () => {
    expect(new Turns(T0, 300).nextSlotAt(T0) - T0).toBe(650);
  });
});
