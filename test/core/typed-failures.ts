import * as fc from 'fast-check';
import { SallyportError } from '../../src/core/errors.ts';

/** Hands such inputs to each of the readers, and throws what one of them throws that isn't a `SallyportError`. */
export function failTyped<Input>(
  inputs: fc.Arbitrary<Input>,
  ...readers: readonly ((input: Input) => unknown)[]
): void {
  const attempt = (input: Input): void => {
    for (const read of readers) {
      try {
        read(input);
      } catch (thrown) {
        if (!(thrown instanceof SallyportError)) throw thrown;
      }
    }
  };
  fc.assert(fc.property(inputs, attempt), { numRuns: 2_000 });
}
