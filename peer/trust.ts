import { EventEmitter } from 'node:events';
import { asSallyportError, SallyportError } from '../src/core/errors.ts';
import type { PeerId } from '../src/core/identity.ts';
import { readSuccessions } from '../src/core/succession.ts';
import type { Clock } from '../src/net/clock.ts';
import {
  AllowFile,
  allowListOf,
  allowRuleText,
  DENIED,
  type AllowList,
  type AllowRule,
  type Grant,
} from './allow-list.ts';
import type { Home } from './home.ts';
import { InviteFolder, type OpenInvite } from './invite-folder.ts';
import { SpareDescriptor } from './spare-descriptor.ts';

interface TrustEvents {
  /** It was looked at again: what is no longer allowed has to end. */
  looked: [];
  /** The allow list can't be read any more, and so allows nobody. Told once until it is mended. */
  unreadable: [why: SallyportError];
  /** A peer came under a new id that isn't allowed; the options allow the one that it had before. Told once for each of those. */
  outdated: [from: PeerId, to: PeerId];
}

/** An id that a peer had before, and of which the allow list speaks. */
export interface Predecessor {
  readonly id: PeerId;
  readonly isDenied: boolean;
}

/** The list is looked at this often: `peer deny` takes effect within a second. */
const LOOK_MS = 500;

/** Whom this peer trusts: by the allow list in its home, by the options of this process, by an invite. */
export class Trust extends EventEmitter<TrustEvents> implements AllowList {
  readonly invites: InviteFolder;
  readonly #file: AllowFile;
  readonly #clock: Clock;
  /** What the options of this process say, beside the file. */
  #options: readonly AllowRule[];
  /** What the file said when it could be read last. */
  #kept: readonly AllowRule[] = [];
  #list: AllowList;
  /** Ids in the options that were told of as replaced. */
  readonly #outdated = new Set<PeerId>();
  /** What was told of a file that can't be read. */
  #told: string | undefined;
  #cancelWatch: (() => void) | undefined;
  /** For reading the file: whoever has this process run out of descriptors shall neither end others' sessions nor keep their own. */
  #spare: SpareDescriptor | undefined;

  /** @throws SallyportError `CONFIG_INVALID`, naming the line; `KEY_FILE_MODE` */
  constructor(home: Home, options: readonly AllowRule[], clock: Clock) {
    super();
    this.#file = new AllowFile(home.allowFile);
    this.invites = new InviteFolder(home.invitesFolder, this.#file);
    this.#clock = clock;
    this.#options = options;
    this.#list = this.#read();
  }

  grantOf(id: PeerId): Grant | undefined {
    return this.#list.grantOf(id);
  }

  isDenied(id: PeerId): boolean {
    return this.#list.isDenied(id);
  }

  get #rules(): AllowRule[] {
    return [...this.#kept, ...this.#options];
  }

  /** Nor is there an invite that somebody could use. */
  get allowsNobody(): boolean {
    return this.#rules.every(({ grant }) => grant === 'none') && this.invites.isEmpty;
  }

  /** Whether somebody is allowed by id, and may come with another one. */
  get namesAnybody(): boolean {
    return this.#rules.some(({ id, grant }) => id !== 'any' && grant !== 'none');
  }

  /**
   * The newest of a peer's earlier ids for which the file has a rule, where it has none for the id of now. What the options of this
   * process say of an earlier id stays with that: who wrote it there is to change it there.
   */
  predecessorOf(id: PeerId, successions: Uint8Array): Predecessor | undefined {
    const ruleFor = (whose: PeerId) => this.#kept.find((rule) => rule.id === whose);
    if (ruleFor(id)) return undefined;
    const chain = readSuccessions(successions, id);
    const earlier = chain.findLast(({ from }) => ruleFor(from));
    if (!earlier) {
      this.#tellOutdated(
        chain.map(({ from }) => from),
        id,
      );
      return undefined;
    }
    const isDenied = ruleFor(earlier.from)?.grant === 'none';
    const isNamed = this.#options.some((rule) => rule.id === id);
    return isDenied && isNamed ? undefined : { id: earlier.from, isDenied };
  }

  #tellOutdated(earlier: readonly PeerId[], id: PeerId): void {
    const named = earlier.findLast((from) => this.#options.some((rule) => rule.id === from));
    if (!named || this.grantOf(id) || this.isDenied(id) || this.#outdated.has(named)) return;
    this.#outdated.add(named);
    this.emit('outdated', named, id);
  }

  /** Whether a peer that is asked for by an earlier id is wanted: by what the list says of its id of now, else of that one. */
  mayFollow(from: PeerId, to: PeerId): boolean {
    const own = this.#rules.find(({ id }) => id === to);
    return own ? own.grant !== 'none' : !this.isDenied(from);
  }

  /** Looks at the list again and again, until `close`. */
  watch(): void {
    this.#spare ??= new SpareDescriptor();
    this.#cancelWatch = this.#clock.setTimer(() => {
      this.#look();
      this.watch();
    }, LOOK_MS);
  }

  close(): void {
    this.#cancelWatch?.();
    this.#spare?.release();
    this.#spare = undefined;
  }

  /** What the options say from now on. */
  setOptions(rules: readonly AllowRule[]): void {
    this.#options = rules;
    this.#look();
  }

  /** Allows a peer these services, or all where none is named, unless the file says something of it already. */
  welcome(id: PeerId, services: readonly string[]): void {
    if (!this.#file.rules().some((rule) => rule.id === id)) this.#file.allow(allowRuleText(id, services));
    this.#list = this.#read();
  }

  /** Uses an invite up. @throws SallyportError `NOT_AUTHORIZED` where it was used meanwhile, or its bearer is denied */
  admit(guest: PeerId, invite: OpenInvite): void {
    this.#change(guest, () => invite.admit(guest));
  }

  /**
   * Gives `to` what its earlier id `from` is allowed by the file as it is now, and denies `from`. False where there is nothing to give, such
   * as where another session of the peer was faster.
   * @throws SallyportError `NOT_AUTHORIZED` where either is denied
   */
  succeed(from: PeerId, to: PeerId): boolean {
    let isNew = false;
    this.#change(to, () => {
      isNew = this.#file.succeed(from, to);
      const isDenied = !this.#file.ruleFor(to) && this.#file.ruleFor(from)?.grant === 'none';
      if (isDenied) throw new SallyportError('NOT_AUTHORIZED', DENIED);
    });
    return isNew;
  }

  /** @throws SallyportError `NOT_AUTHORIZED` where `id` is denied, by the file as it is now */
  #change(id: PeerId, change: () => void): void {
    try {
      if (this.#read().isDenied(id)) throw new SallyportError('NOT_AUTHORIZED', 'it was denied');
      change();
    } catch (thrown) {
      const error = asSallyportError(thrown);
      if (error.code !== 'NOT_AUTHORIZED') this.#tell(error);
      throw error;
    }
    this.#list = this.#read();
  }

  #read(): AllowList {
    this.#kept = this.#file.rules();
    return allowListOf(this.#rules);
  }

  #look(): void {
    try {
      this.#list = this.#spare ? this.#spare.lend(() => this.#read()) : this.#read();
      this.#told = undefined;
    } catch (thrown) {
      // A list that can't be read allows nobody beyond the options, and denies whom it denied.
      this.#kept = this.#kept.filter(({ grant }) => grant === 'none');
      this.#list = allowListOf(this.#rules);
      this.#tell(asSallyportError(thrown));
    }
    this.emit('looked');
  }

  #tell(why: SallyportError): void {
    if (this.#told !== why.message) this.emit('unreadable', why);
    this.#told = why.message;
  }
}
