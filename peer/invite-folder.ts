import { readdirSync, unlinkSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
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
import { readPrivateFile, writePrivateFile } from '../src/net/private-file.ts';
import { allowListOf, allowRuleText, type AllowFile } from './allow-list.ts';

/** An invite that somebody has proven to hold. */
export interface OpenInvite {
  /** The services that the guest may reach; all where there are none named. */
  readonly services: readonly string[];
  /** Uses it up, and puts the guest on the allow list. @throws SallyportError `NOT_AUTHORIZED` where another was faster */
  admit(guest: PeerId): void;
}

const LIFETIME_MS = 10 * 60_000;

const schema = v.object({ expires: v.number(), services: v.array(v.string()) });
type StoredInvite = v.InferOutput<typeof schema>;

/**
 * The invites that can still be used, one file each, so that the command that makes one and the agent that honours it
 * are never in one another's way: to use an invite up is to remove its file. A file holds no secret.
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
    return !this.#names().some((name) => isOpen(read(join(this.#folder, name))));
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
        if (!remove(path)) throw refusal();
        this.#allowFile.allow(allowRuleText(guest, services));
      },
    };
  }

  #pathOf(key: Uint8Array): string {
    return join(this.#folder, peerIdOf(key));
  }

  #names(): string[] {
    try {
      return readdirSync(this.#folder).filter(isPeerId);
    } catch {
      return [];
    }
  }

  #sweep(): void {
    for (const name of this.#names()) {
      const path = join(this.#folder, name);
      if (!isOpen(read(path))) remove(path);
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

function isOpen(stored: StoredInvite | undefined): stored is StoredInvite {
  return stored !== undefined && stored.expires > Date.now();
}

/** True for the one caller whose removal it was. */
function remove(path: string): boolean {
  try {
    unlinkSync(path);
    return true;
  } catch {
    return false;
  }
}

function refusal(): SallyportError {
  return new SallyportError('NOT_AUTHORIZED', 'the invite was used, has expired or never was');
}
