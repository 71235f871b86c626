import { createHash, type Hash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { equalBytes } from '../../src/core/bytes.ts';
import { SallyportError } from '../../src/core/errors.ts';
import type { TransferMessageOf } from '../../src/core/transfer/message.ts';
import type { Place, TargetFolder } from './folder.ts';
import type { Content } from './hashing.ts';

/** A file that was named and answered. */
export interface Expected {
  readonly entry: TransferMessageOf<'entry'>;
  readonly place: Place;
  /** What the part held when it was named; `undefined` where there was none. */
  readonly have: Content | undefined;
}

/** A file whose bytes come in: as a part until it is verified and on the disk, then under its final name. One step at a time. */
export class GrowingFile {
  readonly entry: Expected['entry'];
  /** Where the sender began: 0 where what the part held was not the beginning of the file. */
  readonly resumedAt: number;
  readonly #place: Place;
  readonly #folder: TargetFolder;
  readonly #hash: Hash;
  #file: FileHandle | undefined;
  /** The part had to be made. */
  readonly #isMade: boolean;
  #offset: number;

  /** @throws SallyportError `PROTOCOL_ERROR` */
  constructor({ entry, place, have }: Expected, offset: number, folder: TargetFolder) {
    if (offset !== 0 && offset !== have?.offset)
      throw new SallyportError('PROTOCOL_ERROR', 'the sender goes on where nothing ends');
    if (offset > entry.size) throw longerThanSaid();
    this.entry = entry;
    this.resumedAt = offset;
    this.#place = place;
    this.#folder = folder;
    this.#hash = offset !== 0 && have ? have.hash : createHash('sha256');
    this.#isMade = have === undefined;
    this.#offset = offset;
  }

  /** @throws SallyportError `FILE_CHANGED`, `FILE_REFUSED`; what the system throws */
  async open(): Promise<void> {
    if (this.#isMade) {
      this.#file = await this.#folder.makePart(this.#place, this.entry.mode);
      return;
    }
    const { file, size } = await this.#folder.openPart(this.#place);
    this.#file = file;
    if (size < this.#offset)
      throw new SallyportError('FILE_CHANGED', `${this.#place.text}: what was there of it is gone`);
    if (size > this.#offset) await file.truncate(this.#offset);
  }

  /** @throws SallyportError `PROTOCOL_ERROR`; what the system throws */
  async write(bytes: Uint8Array): Promise<void> {
    if (this.#offset + bytes.length > this.entry.size) throw longerThanSaid();
    for (let written = 0; written < bytes.length;) {
      const at = this.#offset + written;
      const { bytesWritten } = await this.#file!.write(bytes, written, bytes.length - written, at);
      written += bytesWritten;
    }
    this.#hash.update(bytes);
    this.#offset += bytes.length;
  }

  /**
   * Gives it its name.
   * @throws SallyportError `FILE_CHANGED` where it is not the one with this hash, `FILE_EXISTS`; what the system throws
   */
  async finish(sha256: Uint8Array): Promise<void> {
    const { size, mode, modified } = this.entry;
    if (this.#offset !== size || !equalBytes(new Uint8Array(this.#hash.digest()), sha256)) {
      await this.#folder.discard(this.#place); // going on from it would fail again
      throw new SallyportError('FILE_CHANGED', `${this.#place.text}: what arrived is not what was sent`);
    }
    const file = this.#file!;
    await this.#folder.settle(file, mode, modified, this.#isMade);
    this.#file = undefined;
    await file.close();
    await this.#folder.finish(this.#place);
  }

  /** What its file system says at the end (a full disk, a server that is gone) is no news: whoever goes on from a part hashes it first. */
  async giveUp(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close().catch(() => {});
  }
}

function longerThanSaid(): SallyportError {
  return new SallyportError('PROTOCOL_ERROR', 'the file is longer than it was said');
}
