import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { Emitter } from '../../src/net/emitter.ts';
import { uncaughtMessages } from '../uncaught.ts';

interface Events {
  said: [word: string];
  error: [error: Error];
}

describe('an emitter', () => {
  const uncaught = uncaughtMessages();

  it('tells each listener in order, whatever another one throws, and those that listen once no more', async () => {
    const emitter = new Emitter<Events>();
    const told: unknown[] = [];
    emitter.once('said', function (this: unknown, word) {
      told.push([word, this === emitter]);
      throw new Error('once');
    });
    emitter.on('said', (word) => told.push(word));
    const first = once(emitter, 'said');
    expect([emitter.emit('said', 'a'), emitter.emit('said', 'b')]).toEqual([true, true]);
    expect(told).toEqual([['a', true], 'a', 'b']);
    expect(await first).toEqual(['a']);
    await new Promise(setImmediate);
    expect(uncaught).toEqual(new Set(['once']));
  });

  it('throws an error that nobody hears of, and lets nobody know of anything else', () => {
    const emitter = new Emitter<Events>();
    expect(() => emitter.emit('error', new Error('unheard'))).toThrow('unheard');
    expect(emitter.emit('said', 'a')).toBe(false);
  });
});
