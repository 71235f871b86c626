import { expect, it } from 'vitest';
import { LengthPrefixed, withLength } from '../../peer/length-prefixed.ts';

const messages = [0, 1, 300, 65_535, 2, 0].map((length, index) => Buffer.alloc(length, index));
const stream = Buffer.concat(messages.map(withLength));

it.each([1, 2, 3, 7, 1_000, 65_536, stream.length])('messages come whole in chunks of %i bytes', (size) => {
  const taken: Uint8Array[] = [];
  const incoming = new LengthPrefixed((message) => taken.push(message));
  for (let at = 0; at < stream.length; at += size) incoming.push(stream.subarray(at, at + size));
  expect(taken.map(({ length }) => length)).toEqual(messages.map(({ length }) => length));
  expect(messages.every((message, index) => message.equals(taken[index]!))).toBe(true);
});
