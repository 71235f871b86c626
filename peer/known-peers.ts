import type { PeerId } from '../src/core/identity.ts';
import { AllowFile } from './allow-list.ts';
import { History } from './history.ts';
import type { Home } from './home.ts';
import { SettingsFile } from './settings.ts';

/** What a home remembers of one peer, or of `any`, of whom nothing but the allow list speaks. */
export interface KnownPeer {
  readonly id: PeerId | 'any';
  /** Names that were resolved once, and pinned to it. */
  readonly names: readonly string[];
  /** What the allow list says by this id: all that is exposed, these services, or that it is denied. */
  readonly allowed: 'all' | 'none' | readonly string[] | undefined;
  /** What the newest direct path that began here was made by. */
  readonly met: { transport: string; technique: string; secondsAgo: number } | undefined;
}

/** @param now milliseconds since 1970 */
export function knownPeers(home: Home, now: () => number = Date.now): KnownPeer[] {
  const grants = new Map(new AllowFile(home.allowFile).rules().map(({ id, grant }) => [id, grant]));
  const pinned = Object.entries(new SettingsFile(home.settingsFile).names);
  const successes = new History(home.historyFile, now).newestFirst();
  const ids = new Set([
    ...grants.keys(),
    ...pinned.map(([, id]) => id),
    ...successes.map(({ peer }) => peer),
  ]);
  return [...ids].map((id) => {
    const grant = grants.get(id);
    const met = successes.find(({ peer }) => peer === id);
    return {
      id,
      names: pinned.flatMap(([name, whose]) => (whose === id ? name : [])),
      allowed: typeof grant === 'object' ? [...grant] : grant,
      met: met && {
        transport: met.transport,
        technique: met.technique,
        secondsAgo: Math.round((now() - met.at) / 1_000),
      },
    };
  });
}
