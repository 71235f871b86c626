import { SallyportError } from '../core/errors.ts';

/** The first port given and the one behind it; 0 for two free ones. @throws SallyportError `USAGE` */
export function stunPorts(first: number): readonly [number, number] {
  if (first === 0) return [0, 0];
  if (Number.isInteger(first) && first > 0 && first < 65_535) return [first, first + 1];
  throw new SallyportError('USAGE', `not a port with another behind it: ${first}`, {
    hint: 'give a whole number from 1 to 65534, or 0 for two free ones',
  });
}
