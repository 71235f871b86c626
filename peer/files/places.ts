import type { Place, TargetFolder } from './folder.ts';

/** A place, and whether its folder came with this transfer: then nothing is there, unless somebody else is at it. */
export interface FoundPlace extends Place {
  readonly isNew: boolean;
}

/** Where the files of one transfer go. They come folder by folder, so what is known of the last folder spares most looks. */
export class Places {
  readonly #folder: TargetFolder;
  /** The sender's own, of `partName`. */
  readonly #tag: string;
  /** The folder that was looked at last, and for how many files more that holds: it may be a link by then. */
  #looked: { readonly folder: string; left: number } | undefined;
  /** The uppermost folder that this transfer made last. */
  #made: readonly string[] | undefined;

  constructor(folder: TargetFolder, tag: string) {
    this.#folder = folder;
    this.#tag = tag;
  }

  /** As `TargetFolder.makeFolder`. */
  async makeFolder(path: readonly string[], mode: number): Promise<boolean> {
    const made = await this.#folder.makeFolder(path, mode);
    if (made && !this.#isNew(path)) this.#made = path;
    this.#looked = { folder: path.join('/'), left: FILES_A_LOOK };
    return made;
  }

  /** As `TargetFolder.place`. */
  async place(path: readonly string[]): Promise<FoundPlace> {
    const folder = path.slice(0, -1).join('/');
    const isLooked = this.#looked?.folder === folder && this.#looked.left > 0;
    const place = await this.#folder.place(path, this.#tag, isLooked);
    if (!isLooked) this.#looked = { folder, left: FILES_A_LOOK };
    this.#looked!.left--;
    return { ...place, isNew: this.#isNew(path) };
  }

  #isNew(path: readonly string[]): boolean {
    const made = this.#made;
    return made !== undefined && made.length < path.length && made.every((name, at) => name === path[at]);
  }
}

/** As far ahead of its bytes as a file is named anyhow. */
const FILES_A_LOOK = 32;
