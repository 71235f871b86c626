import { createHash } from 'node:crypto';
import { mkdtemp, open, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { hashing } from '../../../peer/files/hashing.ts';
import { LIMITS } from '../../../src/core/limits.ts';

it('a small file is hashed while as many as are hashed at once are as large as disks', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-hashing-'));
  const [disk, small] = [join(folder, 'disk'), join(folder, 'small')];
  await writeFile(disk, '');
  await truncate(disk, 2 ** 40);
  await writeFile(small, 'abc');
  const files = await Promise.all(
    [...Array.from({ length: LIMITS.hashesAtOnce }, () => disk), small].map((path) => open(path)),
  );
  const stop = new AbortController();
  const large = files.slice(0, -1).map((file) => hashing(file, stop.signal));
  const { offset, hash } = await hashing(files.at(-1)!, stop.signal);
  expect({ offset, digest: hash.digest('hex').slice(0, 8) }).toEqual({ offset: 3, digest: 'ba7816bf' });
  stop.abort(new Error('enough'));
  const reasons = (await Promise.allSettled(large)).map(
    (ended) => ended.status === 'rejected' && String(ended.reason),
  );
  expect(reasons).toStrictEqual(large.map(() => 'Error: enough'));
  await Promise.all(files.map((file) => file.close()));
  await rm(folder, { recursive: true });
});

it('a file of several turns has the hash of its whole content', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-hashing-'));
  const path = join(folder, 'file');
  await writeFile(path, Buffer.alloc(2 ** 25, 'sallyport'));
  const file = await open(path);
  const { offset, hash } = await hashing(file, new AbortController().signal);
  const whole = createHash('sha256').update(await readFile(path));
  expect([offset, hash.digest('hex')]).toEqual([2 ** 25, whole.digest('hex')]);
  await file.close();
  await rm(folder, { recursive: true });
});
