import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { AllowFile } from '../../peer/allow-list.ts';
import { History } from '../../peer/history.ts';
import { Home } from '../../peer/home.ts';
import { knownPeers } from '../../peer/known-peers.ts';
import { SettingsFile } from '../../peer/settings.ts';
import { freshIdentity } from './meeting.ts';

let home: Home;
beforeEach(() => {
  home = new Home(mkdtempSync(join(tmpdir(), 'sallyport-known-')));
});
afterEach(() => rmSync(home.folder, { recursive: true }));

const alice = freshIdentity().id;
const bob = freshIdentity().id;
const carol = freshIdentity().id;
const NOTHING = { names: [], allowed: undefined, met: undefined };

it('a home that is new knows nobody', () => {
  expect(knownPeers(home)).toEqual([]);
});

it('a home knows whom it allows or denies, whom a name was pinned to, and how it met', () => {
  let now = 1_700_000_000_000;
  const allow = new AllowFile(home.allowFile);
  allow.allow('any');
  allow.allow(`${alice}=web,ssh`);
  allow.deny(bob);
  const settings = new SettingsFile(home.settingsFile);
  settings.pinName('laptop', alice);
  settings.pinName('desk', alice);
  const history = new History(home.historyFile, () => now);
  const met = { peer: carol, here: '198.51.100.1', transport: 'udp', technique: 'birthday' } as const;
  history.remember({ ...met, there: '203.0.113.1' });
  now += 1_000;
  history.remember({ ...met, there: '203.0.113.2', transport: 'tcp', technique: 'direct dial' });
  now += 5_000;
  expect(knownPeers(home, () => now)).toEqual([
    { ...NOTHING, id: 'any', allowed: 'all' },
    { ...NOTHING, id: alice, names: ['laptop', 'desk'], allowed: ['web', 'ssh'] },
    { ...NOTHING, id: bob, allowed: 'none' },
    { ...NOTHING, id: carol, met: { transport: 'tcp', technique: 'direct dial', secondsAgo: 5 } },
  ]);
});
