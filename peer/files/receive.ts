import { createHash, type Hash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { equalBytes } from '../../src/core/bytes.ts';
import { SallyportError } from '../../src/core/errors.ts';
import { LIMITS } from '../../src/core/limits.ts';
import { toBase32 } from '../../src/core/base32.ts';
import { digest, publicKeyOf, type PeerId } from '../../src/core/identity.ts';
import { pathText } from '../../src/core/transfer/name.ts';
import type { TransferMessage, TransferMessageOf } from '../../src/core/transfer/message.ts';
import type { SessionStream } from '../../src/net/session-stream.ts';
import { TransferChannel } from './channel.ts';
import { receiverFailure } from './failure.ts';
import { staysOpen, type Place, type TargetFolder } from './folder.ts';
import type { FileOutcome } from './send.ts';

type EntryMessage = TransferMessageOf<'entry'>;

/** A file that was named and answered, and isn't done. */
interface Expected {
  readonly entry: EntryMessage;
  readonly place: Place;
  /** Gives the part back. */
  readonly release: () => void;
  /** What the part held when it was named. */
  readonly have: { readonly offset: number; readonly hash: Hash };
}

/** The one file whose bytes are coming in. */
interface Growing extends Expected {
  readonly file: FileHandle;
  readonly hash: Hash;
  /** Where the sender began: 0 where what the part held was not the beginning of the file. */
  readonly resumedAt: number;
  offset: number;
}

export interface ReceiveOptions {
  readonly stream: SessionStream;
  readonly peer: PeerId;
  readonly folder: TargetFolder;
  /** Aborted when the stream is gone. */
  readonly signal: AbortSignal;
  /** Resolves once nobody else writes to that part, with what gives it back. */
  readonly claim: (part: string) => Promise<() => void>;
  /** Bytes that are in place now: they came, or were there before. */
  readonly onBytes: (count: number, came: boolean) => void;
  readonly onOutcome: (outcome: FileOutcome) => void;
}

/** A sender may name this many entries before their bytes come. */
const MAX_AHEAD = 1_024;
/** What a folder that is remembered takes beside its name. */
const FOLDER_BYTES = 64;
/** So many files are synced and named at once: a disk syncs several in the time of one. */
const MAX_FINISHING = 16;

/** Takes what one sender sends over one stream. Rejects when the stream breaks; what came so far is kept for the next time. */
export async function receiveFiles(options: ReceiveOptions): Promise<void> {
  await new Receiving(options).run();
}

class Receiving {
  readonly #options: ReceiveOptions;
  readonly #channel: TransferChannel;
  readonly #tag: string;
  readonly #expected = new Map<number, Expected>();
  /** Files that have their name already, until the sender has said which it means. */
  readonly #existing = new Map<number, Pick<Expected, 'entry' | 'place'>>();
  /** Those that this transfer made and that get their mode when it is through, and what they take. */
  readonly #folders: Pick<EntryMessage, 'path' | 'mode'>[] = [];
  #folderBytes = 0;
  #growing: Growing | undefined;
  /** Files that are whole and don't have their name yet, by part; none of them rejects. */
  readonly #finishing = new Map<string, Promise<void>>();

  constructor(options: ReceiveOptions) {
    this.#options = options;
    this.#channel = new TransferChannel(options.stream);
    this.#tag = toBase32(digest(publicKeyOf(options.peer))).slice(0, 8);
  }

  async run(): Promise<void> {
    try {
      for await (const frame of this.#channel.frames()) {
        if (frame.type === 'bytes') await this.#onBytes(frame.bytes);
        else await this.#onMessage(frame.message);
      }
    } finally {
      if (this.#growing) await closeUnfinished(this.#growing.file);
      await Promise.all(this.#finishing.values());
      for (const { release } of this.#expected.values()) release();
    }
    this.#channel.end();
  }

  async #onMessage(message: TransferMessage): Promise<void> {
    switch (message.t) {
      case 'entry':
        return this.#answered(message, () => this.#onEntry(message));
      case 'compare': {
        const existing = this.#existing.get(message.index);
        return existing && this.#answered(existing.entry, () => this.#compare(existing, message.sha256));
      }
      case 'start': {
        const expected = this.#expectedAt(message.index);
        return expected && this.#answered(expected.entry, () => this.#start(expected, message.offset));
      }
      case 'end': {
        const growing = this.#growingAt(message.index);
        return growing && this.#finishAside(growing, message.sha256);
      }
      case 'skip':
        return this.#giveUp(message.index);
      case 'finish':
        await Promise.all(this.#finishing.values());
        // Deepest first, and only now: a folder may be read-only.
        for (const { path, mode } of this.#folders.splice(0).reverse()) {
          await this.#options.folder.setMode(path, mode).catch(() => {});
        }
        return this.#channel.send({ t: 'finish' });
      case 'have':
      case 'exists':
      case 'saved':
      case 'failed':
        throw new SallyportError('PROTOCOL_ERROR', `a sender does not say ${message.t}`);
    }
  }

  /** What can't be had is told of, and the rest goes on. */
  async #answered(entry: EntryMessage, act: () => Promise<void>): Promise<void> {
    try {
      await act();
    } catch (thrown) {
      const error = receiverFailure(thrown, pathText(entry.path));
      if (this.#options.stream.errored) throw error;
      const { index, path, size } = entry;
      await this.#giveUp(index);
      this.#options.onOutcome({ path: pathText(path), state: 'failed', bytes: size, resumedAt: 0, error });
      await this.#channel.send({
        t: 'failed',
        index,
        code: error.code,
        message: error.message.slice(0, 1_024),
      });
    }
  }

  async #onEntry(entry: EntryMessage): Promise<void> {
    const { folder, claim } = this.#options;
    const { index, path, kind, size } = entry;
    if (this.#expected.has(index) || this.#existing.has(index))
      throw new SallyportError('PROTOCOL_ERROR', 'two entries have one number');
    if (kind === 'folder') return this.#onFolder(entry);
    if (this.#expected.size + this.#existing.size >= MAX_AHEAD)
      throw new SallyportError('LIMIT', 'too many files named ahead');
    const place = await folder.place(path, this.#tag);
    const release = await claim(place.part);
    const have = await this.#soFar(place, size).catch((thrown: unknown) => {
      release();
      throw thrown;
    });
    if (!have) {
      release();
      this.#existing.set(index, { entry, place });
      return this.#channel.send({ t: 'exists', index });
    }
    this.#expected.set(index, { entry, place, have, release });
    const sha256 = new Uint8Array(have.hash.copy().digest());
    await this.#channel.send({ t: 'have', index, offset: have.offset, sha256 });
  }

  /**
   * `undefined` where it has its name already, which whoever had the part before may have given it. Names that are cut alike share a
   * part: what is in it is the other file's.
   */
  async #soFar(place: Place, size: number): Promise<Expected['have'] | undefined> {
    if (await this.#options.folder.exists(place, size)) return undefined;
    const shared = [...this.#expected.values()].some((other) => other.place.part === place.part);
    if (shared || this.#finishing.has(place.part)) return { offset: 0, hash: createHash('sha256') };
    return this.#options.folder.partSoFar(place, this.#options.signal);
  }

  async #onFolder({ index, path, mode }: EntryMessage): Promise<void> {
    const bytes = staysOpen(mode) ? 0 : FOLDER_BYTES + Buffer.byteLength(path.join('/'));
    if (this.#folderBytes + bytes > LIMITS.folderNameBytes)
      throw new SallyportError('LIMIT', 'too many read-only folders in one transfer');
    const made = await this.#options.folder.makeFolder(path, mode);
    if (made && bytes > 0) {
      this.#folders.push({ path, mode });
      this.#folderBytes += bytes;
    }
    await this.#channel.send({ t: 'saved', index });
  }

  async #compare({ entry, place }: Pick<Expected, 'entry' | 'place'>, sha256: Uint8Array): Promise<void> {
    await this.#options.folder.compare(place, sha256, this.#options.signal);
    this.#forget(entry.index);
    await this.#channel.send({ t: 'saved', index: entry.index });
  }

  async #start(expected: Expected, offset: number): Promise<void> {
    const { have, place, entry } = expected;
    await this.#finishing.get(place.part); // names that are cut alike
    if (offset !== 0 && offset !== have.offset)
      throw new SallyportError('PROTOCOL_ERROR', 'the sender goes on where nothing ends');
    const { file, size } = await this.#options.folder.openPart(place);
    const hash = offset === 0 ? createHash('sha256') : have.hash;
    this.#growing = { ...expected, file, hash, resumedAt: offset, offset };
    if (size < offset)
      throw new SallyportError('FILE_CHANGED', `${place.text}: what was there of it is gone`);
    if (size > offset) await file.truncate(offset);
    if (offset > entry.size)
      throw new SallyportError('PROTOCOL_ERROR', 'the file is longer than it was said');
    this.#options.onBytes(offset, false);
  }

  async #onBytes(bytes: Uint8Array): Promise<void> {
    const growing = this.#growing;
    if (!growing) return; // still on their way when the file was turned down
    const { entry, file, hash } = growing;
    await this.#answered(entry, async () => {
      if (growing.offset + bytes.length > entry.size)
        throw new SallyportError('PROTOCOL_ERROR', 'the file is longer than it was said');
      for (let written = 0; written < bytes.length;) {
        const { bytesWritten } = await file.write(
          bytes,
          written,
          bytes.length - written,
          growing.offset + written,
        );
        written += bytesWritten;
      }
      hash.update(bytes);
      growing.offset += bytes.length;
      this.#options.onBytes(bytes.length, true);
    });
  }

  /** While the next ones come in. What fails is told to the sender; only where nobody is left to tell, reading the stream fails as well. */
  async #finishAside(growing: Growing, sha256: Uint8Array): Promise<void> {
    while (this.#finishing.size >= MAX_FINISHING) await Promise.race(this.#finishing.values());
    const { entry, place, release } = growing;
    this.#growing = undefined;
    this.#expected.delete(entry.index);
    const finished = this.#answered(entry, () => this.#finish(growing, sha256))
      .catch(() => {})
      .finally(() => {
        release();
        this.#finishing.delete(place.part);
      });
    this.#finishing.set(place.part, finished);
  }

  async #finish({ entry, place, file, hash, resumedAt, offset }: Growing, sha256: Uint8Array): Promise<void> {
    const { index, path, size, mode, modified } = entry;
    const { folder, onOutcome } = this.#options;
    try {
      if (offset !== size || !equalBytes(new Uint8Array(hash.digest()), sha256)) {
        await folder.discard(place); // going on from it would fail again
        throw new SallyportError('FILE_CHANGED', `${pathText(path)}: what arrived is not what was sent`);
      }
      await folder.settle(file, mode, modified);
    } catch (thrown) {
      await closeUnfinished(file);
      throw thrown;
    }
    await file.close();
    await folder.finish(place);
    onOutcome({ path: pathText(path), state: 'saved', bytes: size, resumedAt });
    await this.#channel.send({ t: 'saved', index });
  }

  /** No more of it. */
  async #giveUp(index: number): Promise<void> {
    const growing = this.#growing;
    if (growing?.entry.index === index) {
      this.#growing = undefined;
      await closeUnfinished(growing.file);
    }
    this.#forget(index);
  }

  #forget(index: number): void {
    this.#expected.get(index)?.release();
    this.#expected.delete(index);
    this.#existing.delete(index);
  }

  /** `undefined` for one that was turned down meanwhile. */
  #expectedAt(index: number): Expected | undefined {
    if (this.#growing) throw new SallyportError('PROTOCOL_ERROR', 'one file begins inside another');
    return this.#expected.get(index);
  }

  #growingAt(index: number): Growing | undefined {
    return this.#growing?.entry.index === index ? this.#growing : undefined;
  }
}

/** What its file system says at the end (a full disk, a server that is gone) is no news: whoever goes on from a part hashes it first. */
async function closeUnfinished(file: FileHandle): Promise<void> {
  await file.close().catch(() => {});
}
