import { EventEmitter } from 'node:events';
import { asSallyportError, SallyportError } from '../src/core/errors.ts';
import type { PeerId } from '../src/core/identity.ts';
import type { Clock } from '../src/net/clock.ts';
import {
  AllowFile,
  allowListOf,
  allowRuleText,
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
  /** Who the file denied when it could be read last. */
  #denials: readonly AllowRule[] = [];
  #list: AllowList;
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
    try {
      if (this.#read().isDenied(guest)) throw new SallyportError('NOT_AUTHORIZED', 'it was denied');
      invite.admit(guest);
    } catch (thrown) {
      const error = asSallyportError(thrown);
      if (error.code !== 'NOT_AUTHORIZED') this.#tell(error);
      throw error;
    }
    this.#list = this.#read();
  }

  #read(): AllowList {
    const rules = this.#file.rules();
    this.#denials = rules.filter(({ grant }) => grant === 'none');
    return allowListOf([...rules, ...this.#options]);
  }

  #look(): void {
    try {
      this.#list = this.#spare ? this.#spare.lend(() => this.#read()) : this.#read();
      this.#told = undefined;
    } catch (thrown) {
      // A list that can't be read allows nobody beyond the options, and denies whom it denied.
      this.#list = allowListOf([...this.#denials, ...this.#options]);
      this.#tell(asSallyportError(thrown));
    }
    this.emit('looked');
  }

  #tell(why: SallyportError): void {
    if (this.#told !== why.message) this.emit('unreadable', why);
    this.#told = why.message;
  }
}
