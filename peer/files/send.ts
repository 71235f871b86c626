import { createHash, type Hash } from 'node:crypto';
import { equalBytes } from '../../src/core/bytes.ts';
import { asSallyportError, SallyportError } from '../../src/core/errors.ts';
import { printable, remoteFailure } from '../../src/core/remote-failure.ts';
import { pathText } from '../../src/core/transfer/name.ts';
import type { TransferMessage, TransferMessageOf } from '../../src/core/transfer/message.ts';
import { deferred, type Deferred } from '../../src/net/deferred.ts';
import type { SessionStream } from '../../src/net/session-stream.ts';
import { TransferChannel } from './channel.ts';
import { fileFailure } from './failure.ts';
import { lookAgain, type Entry } from './gather.ts';
import { openSource, SMALL_BYTES, type Source } from './source.ts';

/** What became of one file or folder. */
export interface FileOutcome {
  readonly path: string;
  /** `unchanged`: the very same was there before. */
  readonly state: 'saved' | 'unchanged' | 'failed';
  readonly bytes: number;
  /** How many of them were there from an earlier attempt. */
  readonly resumedAt: number;
  readonly error?: SallyportError | undefined;
}

export interface SendEvents {
  /** Bytes that need not be sent any more: just sent, or there before. */
  readonly onBytes: (count: number, sent: boolean) => void;
  /** By how many bytes there is more to do, or less: a file has another length than when it was found, or the rest of it won't be sent. */
  readonly onResized: (change: number) => void;
  readonly onOutcome: (outcome: FileOutcome) => void;
}

type Outcome = Pick<FileOutcome, 'state' | 'resumedAt'>;
type Reply = TransferMessageOf<'have' | 'exists' | 'saved' | 'failed'>;

/**
 * So many entries are named before the first one's bytes have passed, and many more while they are small: none waits a round trip
 * of its own. A large one is looked at only shortly before its turn, since it may change until then.
 */
const AHEAD = 32;
const SMALL_AHEAD = 512;
const SMALL_AHEAD_BYTES = 4 * 2 ** 20;
/** So many are looked at, or read, at once. */
const AT_ONCE = 16;
const CHUNK_BYTES = 256 * 1024;

/**
 * Sends files over one stream, in order. One that can't be read or isn't wanted doesn't keep the others from being sent.
 * Rejects when the stream breaks, or the receiver's disk is full.
 */
export async function sendFiles(stream: SessionStream, entries: readonly Entry[], events: SendEvents) {
  await new Sending(stream, entries, events).run();
}

class Sending {
  readonly #channel: TransferChannel;
  readonly #stream: SessionStream;
  /** As they were when they were found; those that are named, as they were then. */
  readonly #entries: Entry[];
  readonly #events: SendEvents;
  /** Answers that are waited for, by entry: first `have` or `exists`, then `saved`. */
  readonly #replies = new Map<number, Deferred<Reply>>();
  /** Why an entry was turned down while its bytes were on the way. */
  readonly #refused = new Map<number, SallyportError>();
  /** Why an entry was not even named. */
  readonly #gone = new Map<number, SallyportError>();
  readonly #finished = deferred<void>();
  #named = 0;
  /** Of what was named and didn't have its turn. */
  #bytesAhead = 0;
  /** Small files that were opened before their turn. */
  readonly #sources = new Map<number, Promise<Source>>();
  #opened = 0;
  /** Of the file whose turn it is, the bytes that `onBytes` has been told of. */
  #passed = 0;
  /** Why the transfer was given up. */
  #failure: SallyportError | undefined;

  constructor(stream: SessionStream, entries: readonly Entry[], events: SendEvents) {
    this.#stream = stream;
    this.#channel = new TransferChannel(stream);
    this.#entries = [...entries];
    this.#events = events;
  }

  async run(): Promise<void> {
    try {
      await this.#sendAll();
    } catch (thrown) {
      throw this.#failure ?? thrown; // whatever went on meanwhile met nothing but the end of the stream
    }
  }

  async #sendAll(): Promise<void> {
    this.#finished.promise.catch(() => {}); // whoever waits at that moment is told
    const replies = this.#readReplies();
    const saving: Promise<void>[] = [];
    for (let index = 0; index < this.#entries.length; index++) {
      await this.#nameAhead(index);
      this.#openAhead(index);
      const entry = this.#entries[index]!;
      if (!this.#gone.has(index)) this.#bytesAhead -= entry.size;
      const outcome = await this.#sendOne(index, entry);
      this.#sources.delete(index);
      if (!outcome) continue;
      const saved = this.#whenSaved(index, entry, outcome);
      saved.catch(() => {}); // told below
      saving.push(saved);
    }
    await Promise.all(saving);
    await this.#channel.send({ t: 'finish' });
    await this.#finished.promise;
    this.#channel.end();
    await replies;
  }

  async #nameAhead(index: number): Promise<void> {
    for (;;) {
      const ahead = this.#bytesAhead < SMALL_AHEAD_BYTES ? SMALL_AHEAD : AHEAD;
      const next = this.#entries.slice(this.#named, this.#named + AT_ONCE);
      if (next.length === 0 || this.#named + AT_ONCE > index + ahead) return;
      const looks = next.map((found) => lookAgain(found));
      for (const look of looks) look.catch(() => {}); // told when its turn comes
      for (const look of looks) await this.#name(this.#named++, look);
    }
  }

  async #name(index: number, look: Promise<Entry>): Promise<void> {
    let entry: Entry;
    try {
      entry = await look;
    } catch (thrown) {
      this.#gone.set(index, asSallyportError(thrown));
      return;
    }
    this.#events.onResized(entry.size - this.#entries[index]!.size);
    this.#entries[index] = entry;
    this.#bytesAhead += entry.size;
    const { path, kind, size, mode, modified } = entry;
    this.#expect(index);
    await this.#channel.send({ t: 'entry', index, path: [...path], kind, size, mode, modified });
  }

  /** A small file is there once its turn comes. */
  #openAhead(index: number): void {
    const end = Math.min(index + AT_ONCE, this.#named);
    for (this.#opened = Math.max(this.#opened, index); this.#opened < end; this.#opened++) {
      const entry = this.#entries[this.#opened]!;
      if (entry.kind === 'folder' || entry.size > SMALL_BYTES || this.#gone.has(this.#opened)) continue;
      const source = openSource(entry);
      source.catch(() => {}); // likewise
      this.#sources.set(this.#opened, source);
    }
  }

  /** Returns what becomes of it, where the receiver's word is to be waited for that it is in place. */
  async #sendOne(index: number, entry: Entry): Promise<Outcome | undefined> {
    this.#passed = 0;
    const gone = this.#gone.get(index);
    if (gone) return this.#fail(entry, gone);
    const reply = await this.#replies.get(index)!.promise;
    this.#replies.delete(index);
    if (reply.t === 'failed') return this.#fail(entry, failureOf(reply));
    if (reply.t === 'saved') return this.#tell(entry, { state: 'saved', resumedAt: 0 });
    this.#expect(index);
    let source: Source | undefined;
    try {
      source = await (this.#sources.get(index) ?? openSource(entry));
      if (reply.t === 'have')
        return { state: 'saved', resumedAt: await this.#sendFile(index, entry, source, reply) };
      const hash = createHash('sha256');
      await this.#hashUntil(entry.size, source, hash);
      await this.#channel.send({ t: 'compare', index, sha256: new Uint8Array(hash.digest()) });
      return { state: 'unchanged', resumedAt: entry.size };
    } catch (thrown) {
      if (this.#stream.errored) throw this.#stream.errored;
      await this.#channel.send({ t: 'skip', index });
      return this.#fail(entry, fileFailure(thrown, entry.source), entry.size - this.#passed);
    } finally {
      await source?.close();
    }
  }

  /** Returns from where it was sent. */
  async #sendFile(index: number, entry: Entry, source: Source, have: TransferMessageOf<'have'>) {
    const hash = createHash('sha256');
    let offset = await this.#resumeAt(entry, source, hash, have);
    const resumedAt = offset;
    this.#pass(offset, false);
    await this.#channel.send({ t: 'start', index, offset });
    const whole = offset === have.offset ? hash : createHash('sha256');
    while (offset < entry.size) {
      const refused = this.#refused.get(index);
      if (refused) throw refused;
      const bytes = await source.read(offset, Math.min(CHUNK_BYTES, entry.size - offset));
      whole.update(bytes);
      offset += bytes.length;
      await this.#channel.sendBytes(bytes);
      this.#pass(bytes.length, true);
    }
    await source.assertUnchanged();
    await this.#channel.send({ t: 'end', index, sha256: new Uint8Array(whole.digest()) });
    return resumedAt;
  }

  /** As far as what the receiver has is what is here; `hash` has taken that in, if it is. */
  async #resumeAt({ size }: Entry, source: Source, hash: Hash, have: TransferMessageOf<'have'>) {
    if (have.offset === 0 || have.offset > size) return 0;
    await this.#hashUntil(have.offset, source, hash);
    return equalBytes(new Uint8Array(hash.copy().digest()), have.sha256) ? have.offset : 0;
  }

  /** Takes the file's first `end` bytes into `hash`, for as long as there is somebody to tell. */
  async #hashUntil(end: number, source: Source, hash: Hash): Promise<void> {
    for (let at = 0; at < end;) {
      if (this.#stream.errored) throw this.#stream.errored;
      const bytes = await source.read(at, Math.min(CHUNK_BYTES, end - at));
      hash.update(bytes);
      at += bytes.length;
    }
  }

  async #whenSaved(index: number, entry: Entry, outcome: Outcome): Promise<void> {
    const reply = await this.#replies.get(index)!.promise;
    this.#replies.delete(index);
    if (reply.t === 'failed')
      return this.#fail(entry, failureOf(reply), outcome.state === 'unchanged' ? entry.size : 0);
    if (outcome.state === 'unchanged') this.#events.onBytes(entry.size, false);
    this.#tell(entry, outcome);
  }

  #expect(index: number): void {
    const reply = deferred<Reply>();
    reply.promise.catch(() => {});
    this.#replies.set(index, reply);
  }

  #pass(bytes: number, sent: boolean): void {
    this.#passed += bytes;
    this.#events.onBytes(bytes, sent);
  }

  /**
   * @param left bytes of it that `onBytes` will not be told of
   * @throws SallyportError `DISK_FULL`: nothing else would fit either
   */
  #fail(entry: Entry, error: SallyportError, left = entry.size): undefined {
    this.#events.onResized(-left);
    this.#events.onOutcome({
      path: pathText(entry.path),
      state: 'failed',
      bytes: entry.size,
      resumedAt: 0,
      error,
    });
    if (error.code === 'DISK_FULL') {
      this.#failure ??= error;
      this.#stream.reset('ABORTED', 'the disk is full');
      throw error;
    }
  }

  #tell(entry: Entry, outcome: Outcome): undefined {
    this.#events.onOutcome({ path: pathText(entry.path), bytes: entry.size, ...outcome });
  }

  /** Never rejects: what goes wrong is told to whoever waits for an answer. */
  async #readReplies(): Promise<void> {
    let failure = new SallyportError('STREAM_RESET', 'the receiver has ended the transfer before its end');
    try {
      for await (const frame of this.#channel.frames()) {
        if (frame.type === 'bytes') throw new SallyportError('PROTOCOL_ERROR', 'a receiver sends no files');
        this.#onReply(frame.message);
      }
    } catch (thrown) {
      failure = asSallyportError(thrown);
      this.#stream.destroy(failure);
    }
    for (const reply of this.#replies.values()) reply.reject(failure);
    this.#finished.reject(failure);
  }

  #onReply(message: TransferMessage): void {
    if (message.t === 'finish') return this.#finished.resolve();
    if (message.t !== 'have' && message.t !== 'exists' && message.t !== 'saved' && message.t !== 'failed') {
      throw new SallyportError('PROTOCOL_ERROR', `a receiver does not say ${message.t}`);
    }
    if (message.t === 'failed') this.#refused.set(message.index, failureOf(message));
    this.#replies.get(message.index)?.resolve(message);
  }
}

function failureOf({ code, message }: TransferMessageOf<'failed'>): SallyportError {
  return remoteFailure(code, printable(message), 'FILE_FAILED');
}
