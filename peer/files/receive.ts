import { createHash } from 'node:crypto';
import { SallyportError } from '../../src/core/errors.ts';
import { LIMITS } from '../../src/core/limits.ts';
import { toBase32 } from '../../src/core/base32.ts';
import { digest, publicKeyOf, type PeerId } from '../../src/core/identity.ts';
import { fileKey, pathText } from '../../src/core/transfer/name.ts';
import type { TransferMessage, TransferMessageOf } from '../../src/core/transfer/message.ts';
import { deferred, type Deferred } from '../../src/net/deferred.ts';
import type { SessionStream } from '../../src/net/session-stream.ts';
import { TransferChannel } from './channel.ts';
import { receiverFailure } from './failure.ts';
import { staysOpen, type TargetFolder } from './folder.ts';
import { GrowingFile, type Expected } from './growing.ts';
import type { Content } from './hashing.ts';
import { Places, type FoundPlace } from './places.ts';
import type { FileOutcome } from './send.ts';

type EntryMessage = TransferMessageOf<'entry'>;

/** What files grow in: those whose names are cut alike, or may be the same to the file system, share it, one after the other. */
interface Part {
  files: number;
  /** What is done to it on the disk, while the stream goes on. Never rejects. */
  steps: Promise<void>;
}

interface Held {
  readonly part: Part;
  /** Gives the part back. */
  readonly release: () => void;
}

export interface ReceiveOptions {
  readonly stream: SessionStream;
  readonly peer: PeerId;
  readonly folder: TargetFolder;
  /** Aborted when the stream is gone. */
  readonly signal: AbortSignal;
  /** Resolves once nobody else writes to the part with that `fileKey`, with what gives it back. */
  readonly claim: (key: string) => Promise<() => void>;
  /** Bytes that are in place now: they came, or were there before. */
  readonly onBytes: (count: number, came: boolean) => void;
  readonly onOutcome: (outcome: FileOutcome) => void;
}

/** A sender may name this many entries before their bytes come. */
const MAX_AHEAD = 1_024;
/** What a folder that is remembered takes beside its name. */
const FOLDER_BYTES = 64;
/** So many files are written, synced and named at once: a disk syncs several in the time of one. */
const MAX_GROWING = 32;
/** Bytes that have come and are not written yet, … */
const MAX_UNWRITTEN = 2 ** 20;
/** … with what each piece of them takes beside its own: a sender cuts them as it likes. */
const PIECE_BYTES = 1_024;

/** Takes what one sender sends over one stream. Rejects when the stream breaks; what came so far is kept for the next time. */
export async function receiveFiles(options: ReceiveOptions): Promise<void> {
  await new Receiving(options).run();
}

class Receiving {
  readonly #options: ReceiveOptions;
  readonly #channel: TransferChannel;
  readonly #places: Places;
  readonly #expected = new Map<number, Expected & Held>();
  /** Files that have their name already, until the sender has said which it means. */
  readonly #existing = new Map<number, Pick<Expected, 'entry' | 'place'>>();
  /** Those that this transfer made and that get their mode when it is through, and what they take. */
  readonly #folders: Pick<EntryMessage, 'path' | 'mode'>[] = [];
  #folderBytes = 0;
  /** Of all that are expected or growing, by `fileKey`. */
  readonly #parts = new Map<string, Part>();
  readonly #growing = new Map<number, Held & { readonly file: GrowingFile }>();
  /** The one of them whose bytes are coming in. */
  #current: number | undefined;
  readonly #comparing = new Set<number>();
  #unwritten = 0;
  /** Somebody waits for less to be under way on the disk. */
  #waiting: Deferred<void> | undefined;

  constructor(options: ReceiveOptions) {
    this.#options = options;
    this.#channel = new TransferChannel(options.stream);
    this.#places = new Places(options.folder, toBase32(digest(publicKeyOf(options.peer))).slice(0, 8));
  }

  async run(): Promise<void> {
    try {
      for await (const frame of this.#channel.frames()) {
        if (frame.type === 'bytes') await this.#onBytes(frame.bytes);
        else await this.#onMessage(frame.message);
      }
    } finally {
      if (this.#current !== undefined) this.#endCurrent((file) => this.#giveUp(file.entry.index));
      await this.#until(() => this.#growing.size + this.#comparing.size === 0);
      for (const { release } of this.#expected.values()) release();
    }
    this.#channel.end();
  }

  async #onMessage(message: TransferMessage): Promise<void> {
    switch (message.t) {
      case 'entry':
        this.#assertUnused(message.index);
        return this.#answered(message, () => this.#onEntry(message));
      case 'compare':
        return this.#compareAside(message.index, message.sha256);
      case 'start':
        return this.#start(message.index, message.offset);
      case 'end':
        if (this.#current !== message.index) return; // turned down meanwhile
        return this.#endCurrent((file) => this.#finish(file, message.sha256));
      case 'skip':
        if (this.#current === message.index) return this.#endCurrent(() => this.#giveUp(message.index));
        if (this.#growing.has(message.index)) return; // it has ended, and closes and names itself
        return this.#forget(message.index);
      case 'finish':
        this.#assertBetweenFiles();
        await this.#until(() => this.#growing.size + this.#comparing.size === 0);
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
    const { index, path, kind, size } = entry;
    if (kind === 'folder') return this.#onFolder(entry);
    if (this.#expected.size + this.#existing.size >= MAX_AHEAD)
      throw new SallyportError('LIMIT', 'too many files named ahead');
    const place = await this.#places.place(path);
    const held = await this.#hold(fileKey(place.part));
    try {
      if (await this.#exists(place, size, held.part)) {
        held.release();
        this.#existing.set(index, { entry, place });
        return await this.#channel.send({ t: 'exists', index });
      }
      const have = await this.#soFar(place, held.part);
      this.#expected.set(index, { entry, place, have, ...held });
      const sha256 = have ? new Uint8Array(have.hash.copy().digest()) : NOTHING_SHA256;
      await this.#channel.send({ t: 'have', index, offset: have?.offset ?? 0, sha256 });
    } catch (thrown) {
      if (!this.#expected.has(index) && !this.#existing.has(index)) held.release();
      throw thrown;
    }
  }

  async #hold(key: string): Promise<Held> {
    const giveBack = await this.#options.claim(key);
    const part = this.#parts.get(key) ?? { files: 0, steps: Promise.resolve() };
    this.#parts.set(key, part);
    part.files++;
    const release = () => {
      giveBack();
      part.files--;
      if (part.files === 0) this.#parts.delete(key);
    };
    return { part, release };
  }

  /** Whoever had the part before may have given it its name. */
  async #exists(place: FoundPlace, size: number, part: Part): Promise<boolean> {
    if (place.isNew && part.files === 1) return false;
    return this.#options.folder.exists(place, size);
  }

  /** Where files share a part, what is in it is the other one's. */
  async #soFar(place: FoundPlace, part: Part): Promise<Content | undefined> {
    if (place.isNew || part.files > 1) return undefined;
    return this.#options.folder.partSoFar(place, this.#options.signal);
  }

  async #onFolder({ index, path, mode }: EntryMessage): Promise<void> {
    const bytes = staysOpen(mode) ? 0 : FOLDER_BYTES + Buffer.byteLength(path.join('/'));
    if (this.#folderBytes + bytes > LIMITS.folderNameBytes)
      throw new SallyportError('LIMIT', 'too many read-only folders in one transfer');
    const made = await this.#places.makeFolder(path, mode);
    if (made && bytes > 0) {
      this.#folders.push({ path, mode });
      this.#folderBytes += bytes;
    }
    await this.#channel.send({ t: 'saved', index });
  }

  /** While others come in: it may have to be read. */
  async #compareAside(index: number, sha256: Uint8Array): Promise<void> {
    const existing = this.#existing.get(index);
    if (!existing) return;
    await this.#until(() => this.#comparing.size < MAX_GROWING);
    this.#existing.delete(index);
    this.#comparing.add(index);
    const { folder, signal } = this.#options;
    const comparing = this.#answered(existing.entry, async () => {
      await folder.compare(existing.place, sha256, signal);
      await this.#channel.send({ t: 'saved', index });
    });
    const over = () => {
      this.#comparing.delete(index);
      this.#wake();
    };
    comparing.then(over, over);
  }

  async #start(index: number, offset: number): Promise<void> {
    this.#assertBetweenFiles();
    const expected = this.#expected.get(index);
    if (!expected) return; // turned down meanwhile
    await this.#until(() => this.#growing.size < MAX_GROWING);
    await this.#answered(expected.entry, async () => {
      const file = new GrowingFile(expected, offset, this.#options.folder);
      this.#expected.delete(index);
      this.#growing.set(index, { file, part: expected.part, release: expected.release });
      this.#current = index;
      void this.#step(index, async () => {
        await file.open();
        this.#options.onBytes(offset, false);
      });
    });
  }

  async #onBytes(bytes: Uint8Array): Promise<void> {
    const index = this.#current;
    if (index === undefined) return; // still on their way when the file was turned down
    const { file } = this.#growing.get(index)!;
    const held = PIECE_BYTES + bytes.length;
    this.#unwritten += held;
    const written = this.#step(index, async () => {
      await file.write(bytes);
      this.#options.onBytes(bytes.length, true);
    });
    void written.then(() => {
      this.#unwritten -= held;
      this.#wake();
    });
    await this.#until(() => this.#unwritten < MAX_UNWRITTEN);
  }

  /** Its last step: the stream goes on to the next file. */
  #endCurrent(last: (file: GrowingFile) => Promise<void>): void {
    const index = this.#current!;
    this.#current = undefined;
    void this.#step(index, () => last(this.#growing.get(index)!.file));
  }

  /**
   * Does something to a growing file once all before is done, unless it was given up by then. What fails is told to the sender; only
   * where nobody is left to tell, reading the stream fails as well.
   */
  #step(index: number, act: () => Promise<void>): Promise<void> {
    const growing = this.#growing.get(index)!;
    const { part, file } = growing;
    part.steps = part.steps.then(async () => {
      if (this.#growing.get(index) !== growing) return;
      await this.#answered(file.entry, act).catch(() => this.#giveUp(index));
    });
    return part.steps;
  }

  async #finish(file: GrowingFile, sha256: Uint8Array): Promise<void> {
    await file.finish(sha256);
    const { index, path, size } = file.entry;
    const { resumedAt } = file;
    this.#options.onOutcome({ path: pathText(path), state: 'saved', bytes: size, resumedAt });
    await this.#channel.send({ t: 'saved', index });
    this.#forget(index);
  }

  /** No more of it. */
  async #giveUp(index: number): Promise<void> {
    await this.#growing.get(index)?.file.giveUp();
    this.#forget(index);
  }

  #forget(index: number): void {
    if (this.#current === index) this.#current = undefined;
    (this.#expected.get(index) ?? this.#growing.get(index))?.release();
    this.#expected.delete(index);
    this.#existing.delete(index);
    this.#growing.delete(index);
    this.#wake();
  }

  #assertUnused(index: number): void {
    const used = [this.#expected, this.#existing, this.#comparing, this.#growing];
    if (used.some((files) => files.has(index)))
      throw new SallyportError('PROTOCOL_ERROR', 'two entries have one number');
  }

  #assertBetweenFiles(): void {
    if (this.#current !== undefined)
      throw new SallyportError('PROTOCOL_ERROR', 'one file begins inside another');
  }

  async #until(isSo: () => boolean): Promise<void> {
    while (!isSo()) {
      this.#waiting ??= deferred();
      await this.#waiting.promise;
    }
  }

  #wake(): void {
    this.#waiting?.resolve();
    this.#waiting = undefined;
  }
}

/** Of a file that nothing is there of. */
const NOTHING_SHA256 = new Uint8Array(createHash('sha256').digest());
