import { readdirSync, renameSync, rmSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { basename, join } from 'node:path';
import * as v from 'valibot';
import { SallyportError } from '../src/core/errors.ts';
import { isPeerId, peerIdOf, type PeerId } from '../src/core/identity.ts';
import {
  formatInvite,
  inviteKeyOf,
  provesInvite,
  type Invite,
  type InviteProof,
} from '../src/core/invite.ts';
import type { HandshakeContext } from '../src/core/session/handshake.ts';
import { accessFailure, readPrivateFile, writePrivateFile } from '../src/net/private-file.ts';
import { allowListOf, allowRuleText, type AllowFile } from './allow-list.ts';

/** An invite that somebody has proven to hold. */
export interface OpenInvite {
  /** The services that the guest may reach; all where there are none named. */
  readonly services: readonly string[];
  /**
   * Uses it up, and puts the guest on the allow list; both, or neither where a file can't be written.
   * @throws SallyportError `NOT_AUTHORIZED` where another was faster; `DISK_FULL`, `CONFIG_INVALID`
   */
  admit(guest: PeerId): void;
}

const LIFETIME_MS = 10 * 60_000;
/** By how much the time of day may be set back and an invite not suffer from it. */
const CLOCK_TOLERANCE_MS = 60_000;

const schema = v.object({ expires: v.number(), services: v.array(v.string()) });
type StoredInvite = v.InferOutput<typeof schema>;

/**
 * The invites that can still be used, one file each, so that the command that makes one and the agent that honours it
 * are never in one another's way: to use an invite up is to rename its file. A file holds no secret.
 */
export class InviteFolder {
  readonly #folder: string;
  readonly #allowFile: AllowFile;

  constructor(folder: string, allowFile: AllowFile) {
    this.#folder = folder;
    this.#allowFile = allowFile;
  }

  /** A new invite as text, good for one guest within ten minutes. @throws SallyportError `USAGE` for services that no rule can name */
  create(inviter: PeerId, rendezvous: Invite['rendezvous'], services: readonly string[] = []): string {
    allowRuleText(inviter, services);
    this.#sweep();
    const secret = new Uint8Array(randomBytes(16));
    const stored = { expires: Date.now() + LIFETIME_MS, services };
    writePrivateFile(this.#pathOf(inviteKeyOf(secret)), `${JSON.stringify(stored)}\n`);
    return formatInvite({ inviter, secret, rendezvous });
  }

  /** Without one there is no need to read what strangers write. The file of one that has expired may still be there. */
  get isEmpty(): boolean {
    const names = this.#names().filter(isPeerId);
    return !names.some((name) => isOpen(read(join(this.#folder, name))));
  }

  /** @throws SallyportError `NOT_AUTHORIZED`, the same for every invite that can't be used; `CONFIG_INVALID` where the allow list can't be read */
  check(proof: InviteProof, context: HandshakeContext): OpenInvite {
    const path = this.#pathOf(proof.key);
    const stored = provesInvite(proof, context) ? read(path) : undefined;
    if (!isOpen(stored)) throw refusal();
    // As the file is now: a session with a guest that was denied a moment ago would only have to be ended.
    if (allowListOf(this.#allowFile.rules()).isDenied(context.initiator)) throw refusal();
    const { services } = stored;
    return {
      services,
      admit: (guest) => {
        const used = take(path);
        try {
          this.#allowFile.allow(allowRuleText(guest, services));
        } catch (thrown) {
          renameSync(used, path);
          throw thrown;
        }
        rmSync(used);
      },
    };
  }

  #pathOf(key: Uint8Array): string {
    return join(this.#folder, peerIdOf(key));
  }

  #names(): string[] {
    try {
      return readdirSync(this.#folder);
    } catch {
      return [];
    }
  }

  #sweep(): void {
    // Beside them there may be what another process is just writing.
    for (const name of this.#names().filter((each) => isPeerId(basename(each, USED)))) {
      const path = join(this.#folder, name);
      if (!isOpen(read(path))) rmSync(path, { force: true });
    }
  }
}

/** `undefined` for what isn't there, or isn't an invite that this user wrote. */
function read(path: string): StoredInvite | undefined {
  try {
    const result = v.safeParse(schema, JSON.parse(readPrivateFile(path) ?? ''));
    return result.success ? result.output : undefined;
  } catch {
    return undefined;
  }
}

/** One that would last for longer than any invite does was made before the time of day was set back: nobody knows how old it is. */
function isOpen(stored: StoredInvite | undefined): stored is StoredInvite {
  const leftMs = (stored?.expires ?? 0) - Date.now();
  return leftMs > 0 && leftMs <= LIFETIME_MS + CLOCK_TOLERANCE_MS;
}

/** What the name of an invite's file ends with while it is being used up. */
const USED = '.used';

/** Under its new name nobody else finds it. @throws SallyportError `NOT_AUTHORIZED` where somebody else was faster; `CONFIG_INVALID` */
function take(path: string): string {
  const used = path + USED;
  try {
    renameSync(path, used);
    return used;
  } catch (cause) {
    throw (cause as NodeJS.ErrnoException).code === 'ENOENT'
      ? refusal()
      : accessFailure('write', path, cause);
  }
}

function refusal(): SallyportError {
  return new SallyportError('NOT_AUTHORIZED', 'the invite was used, has expired or never was');
}
