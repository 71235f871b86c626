import { expect, it } from 'vitest';
import { measureDown } from '../../peer/services/bench.ts';
import { deferred } from '../../src/net/deferred.ts';
import { Meeting } from './meeting.ts';

it('what comes long after its time is measured as far as it came, and then no more of it is taken', async () => {
  const meeting = await Meeting.start();
  try {
    const closed = deferred<void>();
    const bob = await meeting.peer('bob', ['any']);
    bob.handle('bench', (stream) => {
      stream.on('error', () => {});
      stream.resume();
      const sending = setInterval(() => stream.write(Buffer.alloc(1_000)), 50);
      stream.once('close', () => {
        clearInterval(sending);
        closed.resolve();
      });
    });
    const session = await (await meeting.peer('alice')).connect(bob.id);
    const { bytes, milliseconds } = await measureDown(session, 100);
    expect(bytes).toBeGreaterThan(10_000);
    expect(milliseconds).toBeGreaterThan(5_000);
    await closed.promise;
  } finally {
    await meeting.close();
  }
}, 30_000);
