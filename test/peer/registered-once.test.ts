import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { SallyportError } from '../../src/core/errors.ts';
import { Rendezvous } from '../../src/index.ts';
import { Reporter } from '../../src/cli/reporter.ts';
import { startPeer } from '../../peer/commands/shared.ts';
import { TemporaryFolder } from '../netns/temporary-folder.mjs';

let folder: TemporaryFolder;
beforeEach(() => {
  folder = new TemporaryFolder('registered');
});
afterEach(async () => {
  vi.restoreAllMocks();
  await folder.close();
});

it('a person is told of a registration once, and again after it was lost; a program each time', async () => {
  const options = { insecure: true, open: true, home: join(folder.path, 'r') };
  const server = await Rendezvous.start({ ...options, listen: '127.0.0.1:0' });
  const reporter = new Reporter({ quiet: true });
  const told = vi.spyOn(reporter, 'event');
  const alice = await startPeer({ home: join(folder.path, 'alice'), rendezvous: server.url }, reporter, {});
  alice.emit('registered');
  alice.emit('unregistered', new SallyportError('RENDEZVOUS_UNREACHABLE', 'it was lost'));
  alice.emit('registered');
  const registrations = told.mock.calls.filter(([event]) => event === 'registered');
  const words = `registered at ${server.url}`;
  expect(registrations.map((call) => call[2])).toEqual([words, undefined, words]);
  await alice.close();
  await server.close();
});
