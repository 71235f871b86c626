import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Identity, PeerId } from '../src/core/identity.ts';
import { loadIdentity } from '../src/net/identity-file.ts';

/** The folder that holds a peer's key, its settings and whom it trusts. */
export class Home {
  readonly folder: string;

  constructor(folder?: string) {
    this.folder = folder || defaultFolder(); // not the folder that one happens to be in, where a variable of a script is empty
  }

  /** @throws SallyportError `KEY_FILE_MODE`, `KEY_FILE_INVALID` */
  identity(): Identity {
    return loadIdentity(this.keyFile);
  }

  get keyFile(): string {
    return join(this.folder, 'key');
  }

  /** Where the key of an id is kept that this peer had before. */
  retiredKeyFile(id: PeerId): string {
    return join(this.folder, 'retired', id);
  }

  get settingsFile(): string {
    return join(this.folder, 'settings.json');
  }

  get allowFile(): string {
    return join(this.folder, 'allow');
  }

  /** What worked last with whom; may be deleted. */
  get historyFile(): string {
    return join(this.folder, 'history.json');
  }

  /** Invites that can still be used, one file each. */
  get invitesFolder(): string {
    return join(this.folder, 'invites');
  }

  /** Sockets of the agents that run with this home, one per process. */
  get agentsFolder(): string {
    return join(this.folder, 'agents');
  }
}

/** XDG Base Directory Specification. */
function defaultFolder(): string {
  const config = process.env['XDG_CONFIG_HOME'] || join(homedir(), '.config');
  return process.env['SALLYPORT_HOME'] || join(config, 'sallyport');
}
