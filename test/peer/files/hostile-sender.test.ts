import { createHook } from 'node:async_hooks';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { TargetFolder } from '../../../peer/files/folder.ts';
import { FileReceiver } from '../../../peer/files/receiver.ts';
import { concat, utf8 } from '../../../src/core/bytes.ts';
import type { SallyportError } from '../../../src/core/errors.ts';
import { LIMITS } from '../../../src/core/limits.ts';
import { bytesHeader, messageFrame, TransferDecoder } from '../../../src/core/transfer/frame.ts';
import type { TransferMessage } from '../../../src/core/transfer/message.ts';
import { deferred } from '../../../src/net/deferred.ts';
import type { Peer, Session } from '../../../src/index.ts';
import { Meeting } from '../meeting.ts';

let meeting: Meeting;
let bob: Peer;
let session: Session;
let there: string;

beforeAll(async () => {
  meeting = await Meeting.start();
  bob = await meeting.peer('bob', ['any']);
  session = await (await meeting.peer('alice')).connect(bob.id);
});
afterAll(() => meeting.close());

beforeEach(async () => {
  there = mkdtempSync(join(tmpdir(), 'sallyport-hostile-'));
  await receive();
});
afterEach(() => rmSync(there, { recursive: true, force: true }));

/** How transfers ended. */
let ends: (string | undefined)[];

async function receive(options?: { overwrite: boolean }): Promise<void> {
  receiveInto(await TargetFolder.open(there, options));
}

function receiveInto(folder: TargetFolder): void {
  ends = [];
  const onEnd = (error?: SallyportError) => ends.push(error?.code);
  const events = { onBytes: () => {}, onOutcome: () => {}, onEnd };
  const receiver = new FileReceiver(folder, () => events);
  bob.handle('files', receiver.handle);
}

/** A sender that says whatever a test likes, and what it is answered. */
async function sender() {
  const stream = await session.open('files');
  stream.on('error', () => {});
  const decoder = new TransferDecoder();
  const answers: TransferMessage[] = [];
  stream.on('data', (bytes: Uint8Array) => {
    for (const frame of decoder.push(bytes)) if (frame.type === 'message') answers.push(frame.message);
  });
  const say = async (count: number, ...messages: TransferMessage[]) => {
    const wanted = answers.length + count;
    for (const message of messages) stream.write(messageFrame(message));
    await expect.poll(() => answers.length, { timeout: 100_000 }).toBeGreaterThanOrEqual(wanted);
    return answers.slice(wanted - count);
  };
  return { stream, say };
}

function entry(index: number, path: string[], kind: 'file' | 'folder', size = 0): TransferMessage {
  return { t: 'entry', index, path, kind, size, mode: 0o777, modified: 0 };
}

function sha256(content: string): Uint8Array {
  return new Uint8Array(createHash('sha256').update(content).digest());
}

function modeOf(name: string): number {
  return statSync(join(there, name)).mode & 0o7777;
}

it('does not change the mode of a folder that was there, nor lets others write to what is new', async () => {
  mkdirSync(join(there, '.ssh'));
  chmodSync(join(there, '.ssh'), 0o700);
  const { stream, say } = await sender();
  const folders = [entry(0, ['.ssh'], 'folder'), entry(1, ['new'], 'folder'), entry(2, ['new'], 'folder')];
  await say(3, ...folders);
  await say(1, entry(3, ['run'], 'file'));
  await say(1, { t: 'start', index: 3, offset: 0 }, { t: 'end', index: 3, sha256: sha256('') });
  await say(1, { t: 'finish' });
  stream.end();
  const granted = 0o755 & ~process.umask();
  expect(['.ssh', 'new', 'run'].map(modeOf)).toEqual([0o700, granted, granted]);
});

it('is not told the hash of a file that it does not have', async () => {
  writeFileSync(join(there, 'pin'), '1234');
  const { stream, say } = await sender();
  expect(await say(1, entry(0, ['pin'], 'file', 4))).toEqual([{ t: 'exists', index: 0 }]);
  expect(await say(1, { t: 'compare', index: 0, sha256: sha256('0000') })).toMatchObject([
    { t: 'failed', code: 'FILE_EXISTS' },
  ]);
  await say(1, entry(1, ['pin'], 'file', 4));
  const same = { t: 'compare', index: 1, sha256: sha256('1234') } as const;
  expect(await say(1, same)).toEqual([{ t: 'saved', index: 1 }]);
  stream.end();
});

it('is told what went wrong with a file, and can send it anew, also where that can not even be closed', async () => {
  const folder = await TargetFolder.open(there);
  const openPart = folder.openPart.bind(folder);
  folder.openPart = async (place) => {
    const opened = await openPart(place);
    const close = opened.file.close.bind(opened.file);
    opened.file.close = async () => {
      await close();
      throw Object.assign(new Error('close'), { code: 'EIO' });
    };
    return opened;
  };
  receiveInto(folder);
  const first = await sender();
  await first.say(1, entry(0, ['a'], 'file', 2));
  first.stream.write(messageFrame({ t: 'start', index: 0, offset: 0 }));
  first.stream.write(concat(bytesHeader(3), utf8('abc')));
  expect(await first.say(2, entry(1, ['b'], 'file', 2))).toMatchObject([
    { t: 'failed', index: 0, code: 'PROTOCOL_ERROR' },
    { t: 'have', index: 1 },
  ]);
  first.stream.write(messageFrame({ t: 'start', index: 1, offset: 0 }));
  await expect.poll(() => readdirSync(there)).toHaveLength(2);
  first.stream.reset('ABORTED', 'cut');
  await expect.poll(() => ends).toEqual(['ABORTED']);
  const second = await sender();
  expect(await second.say(1, entry(0, ['b'], 'file', 2))).toMatchObject([{ t: 'have' }]);
  second.stream.destroy();
});

it('has so many transfers at once, and so many more wait until one has ended', async () => {
  const { receptionsPerPeer, waitingReceptionsPerPeer } = LIMITS;
  const senders = await Promise.all(Array.from({ length: receptionsPerPeer }, sender));
  await Promise.all(senders.map(({ say }, n) => say(1, entry(0, [`${n}`], 'file'))));
  const waiting = await Promise.all(Array.from({ length: waitingReceptionsPerPeer }, sender));
  const beyond = await sender();
  await expect.poll(() => beyond.stream.errored).toMatchObject({ code: 'LIMIT' });
  const [gone, next, ...others] = waiting;
  const answered = next!.say(1, entry(0, ['next'], 'file'));
  gone!.stream.destroy();
  await senders[0]!.say(1, { t: 'finish' });
  senders[0]!.stream.end();
  expect(await answered).toMatchObject([{ t: 'have' }]);
  for (const { stream } of [...senders, ...others, next!]) stream.destroy();
});

it(
  'has names of so many new read-only folders remembered, and any number of others',
  { timeout: 120_000 },
  async () => {
    const { stream, say } = await sender();
    const deep = Array.from({ length: 14 }, () => 'd'.repeat(250));
    const length = Buffer.byteLength([...deep, '0000'].join('/'));
    const fit = Math.floor(LIMITS.folderNameBytes / (length + 64));
    const named = Array.from(
      { length: fit + 1 },
      (_, n) =>
        ({ ...entry(n, [...deep, String(n).padStart(4, '0')], 'folder'), mode: 0o500 }) as TransferMessage,
    );
    const answers = await say(named.length, ...named);
    expect(new Set(answers.slice(0, -1).map(({ t }) => t))).toEqual(new Set(['saved']));
    expect(answers.at(-1)).toMatchObject({ t: 'failed', code: 'LIMIT' });
    expect(await say(1, entry(fit + 1, ['other'], 'folder'))).toMatchObject([{ t: 'saved' }]);
    stream.destroy();
  },
);

it('gives a part back once its file is saved, skipped or failed', async () => {
  await receive({ overwrite: true });
  const done = await sender();
  await done.say(3, entry(0, ['a'], 'file'), entry(1, ['b'], 'file'), entry(2, ['c'], 'file'));
  await done.say(1, { t: 'start', index: 0, offset: 0 }, { t: 'end', index: 0, sha256: sha256('') });
  await done.say(
    1,
    { t: 'skip', index: 1 },
    { t: 'start', index: 2, offset: 0 },
    { t: 'end', index: 2, sha256: sha256('x') },
  );
  const next = await sender();
  await next.say(3, entry(0, ['a'], 'file'), entry(1, ['b'], 'file'), entry(2, ['c'], 'file'));
  expect(await done.say(1, { t: 'finish' })).toEqual([{ t: 'finish' }]);
  for (const { stream } of [done, next]) stream.destroy();
});

it('has two files of one name in one part, one after the other, each whole', async () => {
  await receive({ overwrite: true });
  const { stream, say } = await sender();
  await say(1, entry(0, ['x'], 'file', 4));
  stream.write(messageFrame({ t: 'start', index: 0, offset: 0 }));
  stream.write(concat(bytesHeader(2), utf8('on')));
  // The other file has begun to grow there, which is nothing to go on from.
  expect(await say(1, entry(1, ['x'], 'file', 4))).toMatchObject([{ t: 'have', index: 1, offset: 0 }]);
  stream.write(concat(bytesHeader(2), utf8('ce')));
  expect(await say(1, { t: 'end', index: 0, sha256: sha256('once') })).toMatchObject([
    { t: 'saved', index: 0 },
  ]);
  stream.write(messageFrame({ t: 'start', index: 1, offset: 0 }));
  stream.write(concat(bytesHeader(4), utf8('more')));
  await say(1, { t: 'end', index: 1, sha256: sha256('more') });
  expect(readFileSync(join(there, 'x'), 'utf8')).toBe('more');
  stream.destroy();
});

it('has two files of one name in one part, also where it waits for nothing', async () => {
  await receive({ overwrite: true });
  const { stream, say } = await sender();
  const contents = Array.from({ length: 40 }, (_, index) => `${index}`.padStart(4));
  for (const index of contents.keys()) stream.write(messageFrame(entry(index, ['x'], 'file', 4)));
  for (const [index, content] of contents.entries()) {
    stream.write(messageFrame({ t: 'start', index, offset: 0 }));
    stream.write(concat(bytesHeader(4), utf8(content)));
    stream.write(messageFrame({ t: 'end', index, sha256: sha256(content) }));
  }
  const answers = await say(81, { t: 'finish' });
  expect(answers.pop()).toEqual({ t: 'finish' });
  expect(answers.map(({ t }) => t).sort()).toEqual([
    ...contents.map(() => 'have'),
    ...contents.map(() => 'saved'),
  ]);
  expect(readFileSync(join(there, 'x'), 'utf8')).toBe(contents.at(-1));
  expect(readdirSync(there)).toEqual(['x']);
  stream.destroy();
});

it('has two files in one part, one after the other, where their names are one to some file systems', async () => {
  const folder = await TargetFolder.open(there);
  const done: string[] = [];
  const makePart = folder.makePart.bind(folder);
  const finish = folder.finish.bind(folder);
  vi.spyOn(folder, 'makePart').mockImplementation((place, mode) => {
    done.push(`make ${place.text}`);
    return makePart(place, mode);
  });
  vi.spyOn(folder, 'finish').mockImplementation(async (place) => {
    await sleep(100);
    await finish(place);
    done.push(`finish ${place.text}`);
  });
  receiveInto(folder);
  const { stream, say } = await sender();
  await say(2, entry(0, ['A'], 'file', 4), entry(1, ['a'], 'file', 4));
  for (const index of [0, 1]) {
    stream.write(messageFrame({ t: 'start', index, offset: 0 }));
    stream.write(concat(bytesHeader(4), utf8('once')));
    stream.write(messageFrame({ t: 'end', index, sha256: sha256('once') }));
  }
  await say(3, { t: 'finish' });
  expect(done).toEqual(['make A', 'finish A', 'make a', 'finish a']);
  stream.destroy();
});

it('has no more pieces of a file taken than are written soon, however small it cuts them', async () => {
  const folder = await TargetFolder.open(there);
  const makePart = folder.makePart.bind(folder);
  const isReady = deferred<void>();
  vi.spyOn(folder, 'makePart').mockImplementation(async (place, mode) => {
    await isReady.promise;
    return makePart(place, mode);
  });
  receiveInto(folder);
  const { stream, say } = await sender();
  const pieces = 50_000;
  await say(1, entry(0, ['x'], 'file', pieces));
  stream.write(messageFrame({ t: 'start', index: 0, offset: 0 }));
  let promises = 0;
  const hook = createHook({ init: (_, type) => void (promises += type === 'PROMISE' ? 1 : 0) }).enable();
  stream.write(concat(...Array.from({ length: pieces }, () => concat(bytesHeader(1), utf8('x')))));
  await sleep(1_000);
  hook.disable();
  expect(promises).toBeLessThan(pieces);
  isReady.resolve();
  const whole = sha256('x'.repeat(pieces));
  expect(await say(1, { t: 'end', index: 0, sha256: whole })).toEqual([{ t: 'saved', index: 0 }]);
  stream.destroy();
});

it('can not give a file the number of one that is being compared', async () => {
  const folder = await TargetFolder.open(there);
  writeFileSync(join(there, 'x'), 'once');
  const isCompared = deferred<void>();
  vi.spyOn(folder, 'compare').mockImplementation(() => isCompared.promise);
  receiveInto(folder);
  const { stream, say } = await sender();
  expect(await say(1, entry(0, ['x'], 'file', 4))).toEqual([{ t: 'exists', index: 0 }]);
  stream.write(messageFrame({ t: 'compare', index: 0, sha256: sha256('once') }));
  stream.write(messageFrame(entry(0, ['y'], 'file', 4)));
  await sleep(200);
  isCompared.resolve();
  await expect.poll(() => ends).toEqual(['PROTOCOL_ERROR']);
});

it('leaves no file open that it skips once that has ended', async () => {
  const folder = await TargetFolder.open(there);
  const makePart = folder.makePart.bind(folder);
  const opened: FileHandle[] = [];
  vi.spyOn(folder, 'makePart').mockImplementation(async (place, mode) => {
    const file = await makePart(place, mode);
    opened.push(file);
    return file;
  });
  receiveInto(folder);
  const { stream, say } = await sender();
  const indices = Array.from({ length: 100 }, (_, index) => index);
  await say(indices.length, ...indices.map((index) => entry(index, [`${index}`], 'file', 4)));
  const sent = indices.flatMap((index) => [
    messageFrame({ t: 'start', index, offset: 0 }),
    concat(bytesHeader(4), utf8('once')),
    messageFrame({ t: 'end', index, sha256: sha256('once') }),
    messageFrame({ t: 'skip', index }),
  ]);
  stream.write(concat(...sent));
  await say(1, { t: 'finish' });
  const isOpen = ({ fd }: FileHandle) => fd !== -1;
  await expect.poll(() => [opened.length, opened.filter(isOpen).length]).toEqual([indices.length, 0]);
  stream.destroy();
});

it('may name what is refused while a file grows, which goes on', async () => {
  const { stream, say } = await sender();
  await say(1, entry(0, ['x'], 'file', 4));
  stream.write(messageFrame({ t: 'start', index: 0, offset: 0 }));
  stream.write(concat(bytesHeader(2), utf8('on')));
  expect(await say(1, entry(1, ['..'], 'file'))).toMatchObject([{ t: 'failed', index: 1 }]);
  stream.write(concat(bytesHeader(2), utf8('ce')));
  expect(await say(1, { t: 'end', index: 0, sha256: sha256('once') })).toEqual([{ t: 'saved', index: 0 }]);
  stream.destroy();
});

it('does not go on with a part that is gone', async () => {
  const first = await sender();
  await first.say(1, entry(0, ['x'], 'file', 4));
  first.stream.write(messageFrame({ t: 'start', index: 0, offset: 0 }));
  first.stream.write(concat(bytesHeader(2), utf8('on')));
  const part = () => readdirSync(there).find((name) => name.endsWith('.part'));
  await expect.poll(() => part() && statSync(join(there, part()!)).size).toBe(2);
  first.stream.destroy();
  const next = await sender();
  expect(await next.say(1, entry(0, ['x'], 'file', 4))).toMatchObject([{ t: 'have', offset: 2 }]);
  rmSync(join(there, part()!));
  expect(await next.say(1, { t: 'start', index: 0, offset: 2 })).toMatchObject([
    { t: 'failed', code: 'FILE_CHANGED' },
  ]);
  next.stream.destroy();
});

it('knows a file that gets its name while its sender begins anew', async () => {
  for (let n = 0; n < 20; n++) {
    const [first, next] = await Promise.all([sender(), sender()]);
    await first.say(1, entry(0, [`${n}`], 'file', 4));
    first.stream.write(messageFrame({ t: 'start', index: 0, offset: 0 }));
    first.stream.write(concat(bytesHeader(4), utf8('once')));
    first.stream.write(messageFrame({ t: 'end', index: 0, sha256: sha256('once') }));
    await sleep(n / 5);
    const [known] = await next.say(1, entry(0, [`${n}`], 'file', 4));
    if (known!.t === 'have') {
      next.stream.write(messageFrame({ t: 'start', index: 0, offset: known.offset }));
      next.stream.write(concat(bytesHeader(4 - known.offset), utf8('once').subarray(known.offset)));
    }
    const t = known!.t === 'exists' ? 'compare' : 'end';
    expect(await next.say(1, { t, index: 0, sha256: sha256('once') })).toEqual([{ t: 'saved', index: 0 }]);
    await next.say(1, { t: 'finish' });
    first.stream.destroy();
    next.stream.end();
    await expect.poll(() => next.stream.closed, { interval: 1 }).toBe(true);
  }
});

it('has one writer to a part, however many take it over at once', async () => {
  const senders = await Promise.all(Array.from({ length: 3 }, sender));
  const [holder, ...others] = senders;
  await holder!.say(1, entry(0, ['big'], 'file', 9));
  holder!.stream.write(messageFrame({ t: 'start', index: 0, offset: 0 }));
  for (const { stream } of others) stream.write(messageFrame(entry(0, ['big'], 'file', 9)));
  await expect.poll(() => senders.filter(({ stream }) => stream.destroyed).length).toBe(2);
  expect(holder!.stream.destroyed).toBe(true);
  for (const { stream } of senders) stream.destroy();
});
