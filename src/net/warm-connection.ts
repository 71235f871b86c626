export interface Connection {
  readonly usable: boolean;
  onClose(fn: () => void): void;
  close(): void;
}

/** At most one connection, made when it is asked for, shared by all who ask, and forgotten when it closes or is taken. */
export class WarmConnection<Kept extends Connection> {
  readonly #dial: () => Promise<Kept | undefined>;
  readonly #lost: () => void;
  #made: Promise<Kept | undefined> | undefined;
  /** What `#made` has resolved with. */
  #live: Kept | undefined;

  /**
   * @param dial resolves with nothing where there can be none
   * @param lost told when it closes that was kept
   */
  constructor(dial: () => Promise<Kept | undefined>, lost: () => void) {
    this.#dial = dial;
    this.#lost = lost;
  }

  get(): Promise<Kept | undefined> {
    if (this.#made && this.#live?.usable !== false) return this.#made;
    const made = this.#dial();
    this.#made = made;
    this.#live = undefined;
    made.then(
      (connection) => this.#keep(made, connection),
      () => this.#forget(made),
    );
    return made;
  }

  /** As `get`, but for this caller alone. */
  take(): Promise<Kept | undefined> {
    const made = this.get();
    this.#forget(made);
    return made;
  }

  close(): void {
    const made = this.#made;
    this.#made = undefined;
    made?.then(
      (connection) => connection?.close(),
      () => undefined,
    );
  }

  #keep(made: Promise<unknown>, connection: Kept | undefined): void {
    if (!connection) return void this.#forget(made);
    if (this.#made === made) this.#live = connection;
    connection.onClose(() => {
      if (this.#forget(made)) this.#lost();
    });
  }

  #forget(made: Promise<unknown>): boolean {
    if (this.#made !== made) return false;
    this.#made = undefined;
    this.#live = undefined;
    return true;
  }
}
