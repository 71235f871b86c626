import { spawnSync } from 'node:child_process';
import { createHook } from 'node:async_hooks';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { TargetFolder } from '../../../peer/files/folder.ts';
import { gather, type GatherOptions } from '../../../peer/files/gather.ts';
import { FileReceiver } from '../../../peer/files/receiver.ts';
import { sendFiles, type FileOutcome } from '../../../peer/files/send.ts';
import { SallyportError } from '../../../src/core/errors.ts';
import { messageFrame, TransferDecoder } from '../../../src/core/transfer/frame.ts';
import type { Peer, Session } from '../../../src/index.ts';
import { Meeting } from '../meeting.ts';

let meeting: Meeting;
let bob: Peer;
let session: Session;
let folder: string;
let here: string;
let there: string;

beforeAll(async () => {
  meeting = await Meeting.start();
  bob = await meeting.peer('bob', ['any']);
  session = await (await meeting.peer('alice')).connect(bob.id);
});
afterAll(() => meeting.close());

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-files-'));
  [here, there] = [join(folder, 'here'), join(folder, 'there')];
  mkdirSync(here);
  await receiveInto(there);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const UNHEARD = { onSkipped: () => {}, onFailed: () => {} };

/** Bytes that came to bob in this test. */
let came: number;
/** What he tells of each file. */
let received: FileOutcome[];

async function receiveInto(target: string, options?: { overwrite?: boolean }): Promise<void> {
  [came, received] = [0, []];
  const onBytes = (count: number, isNew: boolean) => void (came += isNew ? count : 0);
  const onOutcome = (outcome: FileOutcome) => received.push(outcome);
  const events = { onBytes, onOutcome, onEnd: () => {} };
  const receiver = new FileReceiver(await TargetFolder.open(target, options), () => events);
  bob.handle('files', receiver.handle);
}

interface Sent {
  readonly outcomes: FileOutcome[];
  /** Bytes that really went over. */
  readonly moved: number;
}

/** Sends what is named in `here`. */
async function send(names: string[], events: GatherOptions = UNHEARD): Promise<Sent> {
  const entries = await gather(
    names.map((name) => join(here, name)),
    events,
  );
  const stream = await session.open('files');
  stream.on('error', () => {});
  const outcomes: FileOutcome[] = [];
  let moved = 0;
  await sendFiles(stream, entries, {
    onBytes: (count, sent) => {
      if (sent) moved += count;
    },
    onResized: () => {},
    onOutcome: (outcome) => outcomes.push(outcome),
  });
  return { outcomes, moved };
}

function states({ outcomes }: Sent): Record<string, string> {
  return Object.fromEntries(outcomes.map(({ path, state, error }) => [path, error?.code ?? state]));
}

function write(name: string, content: string | Buffer, mode = 0o644): void {
  writeFileSync(join(here, name), content);
  chmodSync(join(here, name), mode);
}

function partsIn(target: string): string[] {
  return readdirSync(target).filter((name) => name.endsWith('.part'));
}

describe('files that are sent', () => {
  it('arrive with folders, content, permissions and times, and no part is left', async () => {
    mkdirSync(join(here, 'tree/empty'), { recursive: true });
    mkdirSync(join(here, 'tree/locked'));
    for (let n = 0; n < 100; n++) write(`tree/${n}`, `file ${n}`);
    write('tree/locked/run', '#!/bin/sh', 0o750);
    write('big', randomBytes(3_000_001), 0o600);
    write('none', '');
    utimesSync(join(here, 'big'), 1_000, 1_000);
    chmodSync(join(here, 'tree/locked'), 0o555);
    const sent = await send(['tree', 'big', 'none']);
    expect(new Set(Object.values(states(sent)))).toEqual(new Set(['saved']));
    expect(sent.outcomes).toHaveLength(106);
    for (let n = 0; n < 100; n++) expect(readFileSync(join(there, `tree/${n}`), 'utf8')).toBe(`file ${n}`);
    expect(readFileSync(join(there, 'big')).equals(readFileSync(join(here, 'big')))).toBe(true);
    expect(statSync(join(there, 'big'))).toMatchObject({ mtimeMs: 1_000_000 });
    expect(statSync(join(there, 'none')).size).toBe(0);
    const mode = (name: string) => statSync(join(there, name)).mode & 0o777;
    expect(['big', 'tree/locked/run', 'tree/locked', 'tree/1'].map(mode)).toEqual([
      0o600, 0o750, 0o555, 0o644,
    ]);
    expect(statSync(join(there, 'tree/empty')).isDirectory()).toBe(true);
    expect([...partsIn(there), ...partsIn(join(there, 'tree'))]).toEqual([]);
    chmodSync(join(here, 'tree/locked'), 0o755);
    chmodSync(join(there, 'tree/locked'), 0o755);
  });

  it('that are there already cost nothing, and others of that name are left alone', async () => {
    write('same', 'as ever');
    write('other', 'from here');
    write('longer', 'from here');
    await send(['same']);
    writeFileSync(join(there, 'other'), 'over here');
    writeFileSync(join(there, 'longer'), 'of another length');
    const sent = await send(['same', 'other', 'longer']);
    expect(states(sent)).toEqual({ same: 'unchanged', other: 'FILE_EXISTS', longer: 'FILE_EXISTS' });
    expect(sent.moved).toBe(0);
    expect(readFileSync(join(there, 'other'), 'utf8')).toBe('over here');
    await receiveInto(there, { overwrite: true });
    expect(states(await send(['other']))).toEqual({ other: 'saved' });
    expect(readFileSync(join(there, 'other'), 'utf8')).toBe('from here');
  });

  it.runIf(process.platform === 'linux')(
    'a name that is no text leaves that file out, and no other',
    async () => {
      mkdirSync(join(here, 'tree'));
      write('tree/a', 'first');
      writeFileSync(Buffer.concat([Buffer.from(join(here, 'tree/')), Buffer.of(0xff)]), 'unnamed');
      write('tree/z', 'last');
      const failed: string[] = [];
      const onFailed = (_: string, { code, message }: SallyportError) => failed.push(`${code} ${message}`);
      const entries = await gather([join(here, 'tree')], { ...UNHEARD, onFailed });
      expect(entries.map(({ path }) => path.join('/'))).toEqual(['tree', 'tree/a', 'tree/z']);
      expect(failed).toEqual([`FILE_FAILED ${join(here, 'tree/\ufffd')}: its name is not UTF-8`]);
    },
  );

  it('may be from before 1970, and arrive as from its beginning', async () => {
    write('old', 'x');
    utimesSync(join(here, 'old'), new Date(-1_000), new Date(-1_000));
    expect(states(await send(['old']))).toEqual({ old: 'saved' });
    expect(statSync(join(there, 'old')).mtimeMs).toBe(0);
  });

  it('are those that are not too deep; what is deeper is told of', async () => {
    const deepest = join('tree', ...Array.from({ length: 62 }, () => 'd'));
    mkdirSync(join(here, deepest, 'folder'), { recursive: true });
    write(join(deepest, 'folder/a'), 'too deep');
    write(join(deepest, 'b'), 'just not');
    write('tree/z', 'last');
    const failed: string[] = [];
    const onFailed = (source: string, { code, message }: SallyportError) => {
      expect(message).toBe(`${source}: is too deep`);
      failed.push(`${code} ${source}`);
    };
    const sent = await send(['tree'], { ...UNHEARD, onFailed });
    expect(failed).toEqual([`FILE_REFUSED ${join(here, deepest, 'folder/a')}`]);
    expect(new Set(Object.values(states(sent)))).toEqual(new Set(['saved']));
    expect(readdirSync(join(there, deepest)).toSorted()).toEqual(['b', 'folder']);
    expect(readFileSync(join(there, 'tree/z'), 'utf8')).toBe('last');
  });

  it('that one can’t be read, or changes meanwhile, don’t keep the others from arriving', async () => {
    write('a', 'first');
    write('gone', 'x');
    write('grows', Buffer.alloc(2_000_000));
    write('z', 'last');
    const entries = await gather(
      ['a', 'gone', 'grows', 'z'].map((name) => join(here, name)),
      UNHEARD,
    );
    rmSync(join(here, 'gone'));
    const outcomes: FileOutcome[] = [];
    let moved = 0;
    await sendFiles(await session.open('files'), entries, {
      onBytes: (count) => {
        moved += count;
        if (moved > 1_000_000) write('grows', Buffer.alloc(2_000_001));
      },
      onResized: () => {},
      onOutcome: (outcome) => outcomes.push(outcome),
    });
    expect(states({ outcomes, moved })).toEqual({
      a: 'saved',
      gone: 'FILE_FAILED',
      grows: 'FILE_CHANGED',
      z: 'saved',
    });
    expect(existsSync(join(there, 'grows'))).toBe(false);
  });

  it('are sent as they are when their turn comes, however long ago they were found', async () => {
    write('log', 'one line');
    write('grown', 'x');
    const entries = await gather(
      ['log', 'grown'].map((name) => join(here, name)),
      UNHEARD,
    );
    write('log', 'one line, and another');
    write('grown', Buffer.alloc(1_000));
    const outcomes: FileOutcome[] = [];
    let [moved, total] = [0, 9];
    await sendFiles(await session.open('files'), entries, {
      onBytes: (count) => void (moved += count),
      onResized: (change) => void (total += change),
      onOutcome: (outcome) => outcomes.push(outcome),
    });
    expect(states({ outcomes, moved })).toEqual({ log: 'saved', grown: 'saved' });
    expect(readFileSync(join(there, 'log'), 'utf8')).toBe('one line, and another');
    expect({ moved, total }).toEqual({ moved: 1_021, total: 1_021 });
  });

  it('leave nothing to be done where they fail, early or late', async () => {
    for (const name of ['exists', 'same length', 'gone', 'shrinks', 'z'])
      write(name, Buffer.alloc(1_000_000));
    writeFileSync(join(there, 'exists'), 'another');
    writeFileSync(join(there, 'same length'), Buffer.alloc(1_000_000, 'x'));
    const entries = await gather(
      ['exists', 'same length', 'gone', 'shrinks', 'z'].map((name) => join(here, name)),
      UNHEARD,
    );
    rmSync(join(here, 'gone'));
    const outcomes: FileOutcome[] = [];
    let [done, total] = [0, 5_000_000];
    await sendFiles(await session.open('files'), entries, {
      onBytes: (count) => {
        if (done === 0) write('shrinks', '');
        done += count;
      },
      onResized: (change) => void (total += change),
      onOutcome: (outcome) => outcomes.push(outcome),
    });
    expect(states({ outcomes, moved: 0 })).toEqual({
      exists: 'FILE_EXISTS',
      'same length': 'FILE_EXISTS',
      gone: 'FILE_FAILED',
      shrinks: 'FILE_CHANGED',
      z: 'saved',
    });
    expect(done).toBeGreaterThanOrEqual(1_000_000);
    expect(total).toBe(done);
  });

  it.runIf(process.platform !== 'win32')(
    'fail where a pipe has their place by then, for whose writer nobody waits',
    async () => {
      write('was', 'a file');
      write('z', 'last');
      const entries = await gather(
        ['was', 'z'].map((name) => join(here, name)),
        UNHEARD,
      );
      rmSync(join(here, 'was'));
      spawnSync('mkfifo', [join(here, 'was')]);
      const outcomes: FileOutcome[] = [];
      await sendFiles(await session.open('files'), entries, {
        onBytes: () => {},
        onResized: () => {},
        onOutcome: (outcome) => outcomes.push(outcome),
      });
      expect(states({ outcomes, moved: 0 })).toEqual({ was: 'FILE_CHANGED', z: 'saved' });
    },
  );

  it.runIf(existsSync('/sys/kernel/uevent_seqnum'))(
    'that the system makes up as they are read are not taken for empty or changed',
    async () => {
      write('a', 'first');
      symlinkSync('/proc/version', join(here, 'nothing')); // has 0 bytes, it says
      symlinkSync('/sys/kernel/uevent_seqnum', join(here, 'page')); // has 4,096
      const sent = await send(['nothing', 'page', 'a']);
      expect(states(sent)).toEqual({ nothing: 'FILE_FAILED', page: 'FILE_FAILED', a: 'saved' });
      expect(sent.outcomes[0]?.error?.message).toMatch(/nothing: is not as long as the system says$/);
      expect(existsSync(join(there, 'nothing'))).toBe(false);
      writeFileSync(join(there, 'nothing'), '');
      expect(states(await send(['nothing']))).toEqual({ nothing: 'FILE_FAILED' });
    },
  );

  it('cost few calls of the system each, where their folder comes with them', async () => {
    const files = 200;
    mkdirSync(join(here, 'tree'));
    for (let n = 0; n < files; n++) write(`tree/${n}`, `file ${n}`);
    let calls = 0;
    const hook = createHook({ init: (_, type) => void (calls += type === 'FSREQPROMISE' ? 1 : 0) }).enable();
    const sent = await send(['tree']);
    hook.disable();
    expect(new Set(Object.values(states(sent)))).toEqual(new Set(['saved']));
    // Found, looked at, opened, read, looked at, closed; made, written, dated, synced, closed, linked, unlinked.
    expect(calls / files).toBeLessThan(13.5);
  });

  it('are named far ahead while they are small, and not while they are large', async () => {
    mkdirSync(join(here, 'small'));
    mkdirSync(join(here, 'large'));
    for (let n = 0; n < 1_000; n++) {
      write(`small/${n}`, '');
      write(`large/${n}`, '');
      truncateSync(join(here, `large/${n}`), 2 ** 20);
    }
    expect(await namedUnanswered('small')).toBeGreaterThan(400);
    expect(await namedUnanswered('large')).toBeLessThanOrEqual(32);
  });

  /** How many entries of a folder a sender names to a receiver that says nothing. */
  async function namedUnanswered(name: string): Promise<number> {
    let named = 0;
    bob.handle('files', (stream) => {
      const decoder = new TransferDecoder();
      stream.on('error', () => {});
      stream.on('data', (bytes: Uint8Array) => (named += [...decoder.push(bytes)].length));
    });
    const stream = await session.open('files');
    stream.on('error', () => {});
    const events = { onBytes: () => {}, onResized: () => {}, onOutcome: () => {} };
    const sending = sendFiles(stream, await gather([join(here, name)], UNHEARD), events);
    sending.catch(() => {}); // it is cut
    let before = -1;
    await expect
      .poll(() => named > 0 && before === (before = named), { interval: 300, timeout: 20_000 })
      .toBe(true);
    stream.reset('ABORTED', 'cut');
    return named;
  }

  it('fail where the folder that takes them has vanished, which is told apart from a missing file', async () => {
    mkdirSync(join(here, 'deep'));
    write('a', 'one');
    write('deep/b', 'two');
    rmSync(there, { recursive: true });
    const { outcomes } = await send(['a', 'deep']);
    expect(new Set(outcomes.map(({ error }) => error?.message))).toEqual(
      new Set([
        "a: the receiver's folder is gone, or what it held of this",
        "deep: the receiver's folder is gone, or what it held of this",
      ]),
    );
  });

  it('fail because of the full disk, although the sender is several small files ahead of it', async () => {
    const full = Object.assign(new Error('write'), { code: 'ENOSPC' });
    const settle = vi.spyOn(TargetFolder.prototype, 'settle').mockRejectedValue(full);
    mkdirSync(join(here, 'tree'));
    for (let n = 0; n < 200; n++) write(`tree/${n}`, `file ${n}`);
    await expect(send(['tree'])).rejects.toMatchObject({
      code: 'DISK_FULL',
      message: expect.stringMatching(/: the disk is full$/),
    });
    settle.mockRestore();
  });
});

describe('a transfer that is stopped', () => {
  it('looks no further, however many files are still to be found', async () => {
    mkdirSync(join(here, 'tree/inner'), { recursive: true });
    for (const name of ['a', 'b', 'c']) symlinkSync('nowhere', join(here, 'tree/inner', name));
    const stop = new AbortController();
    const reason = new SallyportError('ABORTED', 'stopped');
    const skipped: string[] = [];
    const onSkipped = (source: string) => {
      skipped.push(source);
      stop.abort(reason);
    };
    const onFailed = (source: string) => skipped.push(source);
    const gathering = gather([join(here, 'tree')], { signal: stop.signal, onSkipped, onFailed });
    await expect(gathering).rejects.toBe(reason);
    expect(skipped).toEqual([join(here, 'tree/inner/a')]);
  });

  it('reads no further in a file that both have, be it as large as a disk', async () => {
    const size = 2 ** 40;
    for (const folder of [here, there]) {
      writeFileSync(join(folder, 'big'), '');
      truncateSync(join(folder, 'big'), size);
    }
    const entries = await gather([join(here, 'big')], UNHEARD);
    const stream = await session.open('files');
    stream.on('error', () => {});
    const sending = sendFiles(stream, entries, {
      onBytes: () => {},
      onResized: () => {},
      onOutcome: () => {},
    });
    sending.catch(() => {}); // looked at below
    await expect.poll(() => stream.bytesReceived).toBeGreaterThan(0);
    stream.reset('ABORTED', 'stopped');
    await expect(sending).rejects.toMatchObject({ code: 'ABORTED' });
  });
});

describe('a transfer that broke off', () => {
  const size = 20_000_000;

  /** Sends `big`, cuts the stream, and waits for the receiver to have written what came. */
  async function cutAt(limit: number): Promise<void> {
    const entries = await gather([join(here, 'big')], UNHEARD);
    const stream = await session.open('files');
    stream.on('error', () => {});
    let moved = 0;
    const sending = sendFiles(stream, entries, {
      onBytes: (count) => {
        moved += count;
        if (moved > limit) stream.reset('ABORTED', 'cut');
      },
      onResized: () => {},
      onOutcome: () => {},
    });
    await expect(sending).rejects.toMatchObject({ code: 'ABORTED' });
    await expect.poll(() => partsIn(there)).toHaveLength(1);
    const [part] = partsIn(there);
    let before = -1;
    await expect
      .poll(() => before === (before = statSync(join(there, part!)).size), { interval: 200 })
      .toBe(true);
  }

  it('goes on where it stopped, and never shows a part under the final name', async () => {
    write('big', randomBytes(size));
    await cutAt(size / 2);
    expect(readdirSync(there)).toEqual([expect.stringMatching(/^big\.[a-z2-7]{8}\.part$/)]);
    came = 0;
    const sent = await send(['big']);
    expect(came).toBe(sent.moved);
    expect(sent.moved).toBeLessThan(size);
    expect(sent.outcomes).toMatchObject([{ state: 'saved', resumedAt: size - sent.moved }]);
    expect(received).toEqual(sent.outcomes);
    expect(readFileSync(join(there, 'big')).equals(readFileSync(join(here, 'big')))).toBe(true);
  });

  it('begins anew where what is there is not the beginning of the file', async () => {
    write('big', randomBytes(size));
    await cutAt(size / 2);
    write('big', randomBytes(size));
    const sent = await send(['big']);
    expect(sent.moved).toBe(size);
    expect(received).toMatchObject([{ state: 'saved', resumedAt: 0 }]);
    expect(readFileSync(join(there, 'big')).equals(readFileSync(join(here, 'big')))).toBe(true);
  });

  it('does not write into the file that a receiver had finished when it was killed', async () => {
    write('big', randomBytes(size));
    await cutAt(size / 2);
    const [part] = partsIn(there);
    await send(['big']);
    linkSync(join(there, 'big'), join(there, part!)); // as it is before its other name is taken away
    renameSync(join(there, 'big'), join(there, 'kept'));
    write('big', 'another');
    expect(states(await send(['big']))).toEqual({ big: 'saved' });
    expect(statSync(join(there, 'kept')).size).toBe(size);
    expect(readFileSync(join(there, 'big'), 'utf8')).toBe('another');
    expect(partsIn(there)).toEqual([]);
  });

  it('leaves nothing of a file that a receiver had finished when it was killed, and that is sent again', async () => {
    write('big', randomBytes(size));
    await cutAt(size / 2);
    const [part] = partsIn(there);
    await send(['big']);
    linkSync(join(there, 'big'), join(there, part!));
    expect(states(await send(['big']))).toEqual({ big: 'unchanged' });
    expect(readdirSync(there)).toEqual(['big']);
  });

  it('is taken over by the next one, although the receiver has not noticed yet', async () => {
    write('big', randomBytes(size));
    const entries = await gather([join(here, 'big')], UNHEARD);
    const stalled = await session.open('files');
    stalled.on('error', () => {});
    const [{ path, size: bytes, mode, modified }] = entries as [(typeof entries)[0]];
    stalled.write(
      messageFrame({ t: 'entry', index: 0, path: [...path], kind: 'file', size: bytes, mode, modified }),
    );
    stalled.write(messageFrame({ t: 'start', index: 0, offset: 0 }));
    await expect.poll(() => partsIn(there)).toHaveLength(1);
    expect(states(await send(['big']))).toEqual({ big: 'saved' });
    await expect.poll(() => stalled.destroyed).toBe(true);
  });
});

describe('a sender that is up to no good', () => {
  /** What the receiver says to one entry and a small file's bytes. */
  async function attempt(path: string[], kind: 'file' | 'folder' = 'file'): Promise<string> {
    const stream = await session.open('files');
    const fields = { size: 0, mode: 0o600, modified: 0 };
    stream.write(messageFrame({ t: 'entry', index: 0, path, kind, ...fields }));
    stream.end();
    return Buffer.concat(await stream.toArray()).toString('latin1');
  }

  it.each([[['..', 'out']], [['/etc/out']], [['a', '..', '..', 'out']], [['a\nb']], [['..\\out']]])(
    'does not get %j out of the folder',
    async (path) => {
      expect(await attempt(path)).toContain('FILE_REFUSED');
      expect(await attempt(path, 'folder')).toContain('FILE_REFUSED');
      expect(readdirSync(folder).sort((a, b) => (a < b ? -1 : 1))).toEqual(['here', 'there']);
    },
  );

  it('is not led out by links that lie in the folder', async () => {
    symlinkSync(here, join(there, 'link'));
    symlinkSync(join(here, 'victim'), join(there, 'dangling'));
    expect(await attempt(['link', 'file'])).toContain('FILE_REFUSED');
    expect(await attempt(['dangling'])).toContain('FILE_EXISTS');
    expect(readdirSync(here)).toEqual([]);
    expect(lstatSync(join(there, 'dangling')).isSymbolicLink()).toBe(true);
  });
});
