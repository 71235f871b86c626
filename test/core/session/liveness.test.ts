import { expect, it } from 'vitest';
import { Liveness } from '../../../src/core/session/liveness.ts';

it('asks three times at first, one after the other, and then only now and then', () => {
  const liveness = new Liveness(0);
  const asked: number[] = [];
  for (let ping = 0; ping < 4; ping += 1) {
    const at = liveness.pingAt;
    asked.push(at);
    liveness.pinged(at, true);
    liveness.ponged(at + 1);
  }
  expect(asked).toEqual([0, 21, 42, 5_042]);
});
