import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BENCH_LIMITS, decodeBenchRequest, encodeBenchRequest } from '../../../src/core/protocol/bench.ts';

describe('a request for a benchmark', () => {
  it('comes out as it went in', () => {
    const request = fc.record({
      direction: fc.constantFrom('up' as const, 'down' as const),
      milliseconds: fc.nat(BENCH_LIMITS.milliseconds),
    });
    fc.assert(
      fc.property(request, (asked) => {
        expect(decodeBenchRequest(encodeBenchRequest(asked))).toEqual(asked);
      }),
    );
  });

  it('is refused when it asks for more time than there is, or is none', () => {
    const tooLong = encodeBenchRequest({ direction: 'down', milliseconds: BENCH_LIMITS.milliseconds + 1 });
    expect(() => decodeBenchRequest(tooLong)).toThrow(expect.objectContaining({ code: 'LIMIT' }));
    for (const bytes of [[], [0, 0, 0, 0], [2, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]]) {
      const refused = expect.objectContaining({ code: 'PROTOCOL_ERROR' });
      expect(() => decodeBenchRequest(Uint8Array.from(bytes))).toThrow(refused);
    }
  });
});
