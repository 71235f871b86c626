import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Rendezvous } from '../../src/index.ts';
import { Reporter } from '../../src/cli/reporter.ts';
import { startPeer } from '../../peer/commands/shared.ts';
import { Middlebox } from '../relay/middlebox.ts';
import { TemporaryFolder } from '../netns/temporary-folder.mjs';

let folder: TemporaryFolder;
beforeEach(() => {
  folder = new TemporaryFolder('registered');
});
afterEach(async () => {
  vi.restoreAllMocks();
  await folder.close();
});

it(
  'a registration is told once, and again only after it was told to be lost',
  { timeout: 30_000 },
  async () => {
    const home = join(folder.path, 'r');
    const options = { insecure: true, open: true, home };
    const first = await Rendezvous.start({ ...options, listen: '127.0.0.1:0' });
    const box = await Middlebox.start(first.url, {});
    const reporter = new Reporter({ quiet: true });
    const told = vi.spyOn(reporter, 'event');
    const names = () => told.mock.calls.map(([name]) => name).filter((name) => name.endsWith('registered'));
    const alice = await startPeer({ home: join(folder.path, 'alice'), rendezvous: box.url }, reporter, {});
    let registrations = 0;
    alice.on('registered', () => registrations++);
    // The connection is dead in silence, and another takes its place.
    box.forget();
    alice.deployment.check();
    await expect.poll(() => registrations, { timeout: 10_000 }).toBe(1);
    expect(names()).toEqual(['registered']);
    box.cut();
    await expect.poll(() => registrations, { timeout: 10_000 }).toBe(2);
    expect(names()).toEqual(['registered', 'unregistered', 'registered']);
    await alice.close();
    await box.close();
    await first.close();
  },
);
