import { SallyportError } from '../src/core/errors.ts';
import { parsePeerName } from '../src/core/peer-name.ts';
import type { PeerId } from '../src/core/identity.ts';
import type { Deployment } from './deployment.ts';
import { leads } from './moved.ts';
import type { SettingsFile } from './settings.ts';

/**
 * Whose a name is. It is resolved once and pinned: the rendezvous could name somebody else (docs/threat-model.md).
 * @param accept trust what the rendezvous says of a name that was not met before
 * @throws SallyportError `USAGE`, `PEER_OFFLINE`, `IDENTITY_CHANGED`, `NAME_UNPINNED`
 */
export async function resolveName(
  name: string,
  accept: boolean,
  deployment: Deployment,
  settings: SettingsFile,
): Promise<PeerId> {
  const pinned = settings.pinnedName(parsePeerName(name));
  const holder = await deployment.resolve(name);
  const named = holder?.id;
  if (pinned !== undefined) {
    if (named === undefined || named === pinned) return pinned;
    // The pin follows when that id is in a session, and it is found by the one that was pinned.
    if (leads(pinned, named, holder?.successions ?? new Uint8Array())) return pinned;
    const hint = 'connect by id if you know that it has changed';
    const message = `${name} was ${pinned}, and the rendezvous now names ${named}`;
    throw new SallyportError('IDENTITY_CHANGED', message, { hint });
  }
  if (named === undefined) {
    throw new SallyportError('PEER_OFFLINE', `nobody is registered as ${JSON.stringify(name)}`, {
      hint: looksLikeId(name)
        ? `an id has 52 characters, this has ${name.length}: copy it whole`
        : 'check the name, and that `peer up` runs there with it as --name, at the same rendezvous',
    });
  }
  if (!accept) {
    const hint = 'add --accept to trust it from now on, or connect by id';
    const message = `${name} is ${named}, says the rendezvous; nobody confirmed it yet`;
    throw new SallyportError('NAME_UNPINNED', message, { hint });
  }
  settings.pinName(name, named);
  return named;
}

/** An id of which some characters were lost or doubled on the way can still be a name. */
function looksLikeId(name: string): boolean {
  return name.length > 40 && /^[a-z2-7]+$/.test(name);
}

/** Who gave this peer's own id where another one's is meant. */
export function oneself(): SallyportError {
  return new SallyportError('USAGE', 'that is the id of this very peer', { hint: "give the other one's" });
}
