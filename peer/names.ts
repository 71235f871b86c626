import { SallyportError } from '../src/core/errors.ts';
import { parsePeerName } from '../src/core/peer-name.ts';
import { withEither } from '../src/net/either-signal.ts';
import type { PeerId } from '../src/core/identity.ts';
import type { Deployment } from './deployment.ts';
import { leads } from './moved.ts';
import type { SettingsFile } from './settings.ts';

interface Naming {
  readonly name: string;
  /** Trust what the rendezvous says of a name that was not met before. */
  readonly acceptName: boolean;
  readonly deployment: Deployment;
  readonly settings: SettingsFile;
  readonly signal: AbortSignal | undefined;
}

/**
 * Acts with the peer whose name this is. A name is resolved once and pinned: the rendezvous could name somebody else (docs/threat-model.md).
 * That it still names the same peer is asked while `act` is under way with that one, and ends it where it doesn't.
 * @throws SallyportError `USAGE`, `PEER_OFFLINE`, `IDENTITY_CHANGED`, `NAME_UNPINNED`, `TIMEOUT`, `ABORTED`
 */
export async function withNamed<Result>(
  naming: Naming,
  act: (id: PeerId, signal?: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const { name, settings, signal } = naming;
  const pinned = settings.pinnedName(parsePeerName(name));
  if (pinned === undefined) return act(await resolveName(naming), signal);
  const contradicted = new AbortController();
  void contradiction(pinned, naming).then((why) => why && contradicted.abort(why));
  const acting = withEither([signal, contradicted.signal], (either) => act(pinned, either));
  return acting.catch((thrown: unknown) => {
    throw contradicted.signal.reason ?? thrown;
  });
}

/** `undefined` also where the rendezvous says nothing. */
async function contradiction(
  pinned: PeerId,
  { name, deployment, signal }: Naming,
): Promise<SallyportError | undefined> {
  const holder = await deployment.resolve(name, signal).catch(() => undefined);
  // The pin follows when that id is in a session, and it is found by the one that was pinned.
  if (!holder || holder.id === pinned || leads(pinned, holder.id, holder.successions ?? new Uint8Array()))
    return undefined;
  const message = `${name} was ${pinned}, and the rendezvous now names ${holder.id}`;
  const hint = 'connect by id if you know that it has changed';
  return new SallyportError('IDENTITY_CHANGED', message, { hint });
}

async function resolveName({ name, acceptName, deployment, settings, signal }: Naming): Promise<PeerId> {
  const named = (await deployment.resolve(name, signal))?.id;
  if (named === undefined) {
    throw new SallyportError('PEER_OFFLINE', `nobody is registered as ${JSON.stringify(name)}`, {
      hint: looksLikeId(name)
        ? idMistake(name)
        : 'check the name, and that `peer up` runs there with it as --name, at the same rendezvous',
    });
  }
  if (!acceptName) {
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

function idMistake({ length }: string): string {
  if (length === 52) return 'check the id for a typing error';
  return `an id has 52 characters, this has ${length}: copy it whole`;
}

/** Who gave this peer's own id where another one's is meant. */
export function oneself(): SallyportError {
  return new SallyportError('USAGE', 'that is the id of this very peer', { hint: "give the other one's" });
}
