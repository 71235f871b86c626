/** A folder that is gone soon after it is closed or this process has ended, whatever ended it. */
export class TemporaryFolder {
  readonly path: string;
  /** @param name stands in the folder's own, so that one left behind tells whose it was */
  constructor(name: string);
  /** Resolves once the folder is gone. May be called again. */
  close(): Promise<void>;
}
