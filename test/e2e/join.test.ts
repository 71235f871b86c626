import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Stage } from './commands.ts';
import { complaintOf, staged } from './plain.ts';

function remembered(stage: Stage, name: string): unknown {
  return JSON.parse(readFileSync(join(stage.home(name), 'settings.json'), 'utf8'));
}

async function report(stage: Stage, name: string, url: string): Promise<unknown> {
  const { status, stdout } = await stage.peer(name, 'join', url).ended;
  expect(status).toBe(0);
  return JSON.parse(stdout.toString());
}

describe.concurrent('peer join', () => {
  it(
    'says at once that the rendezvous takes another token, and keeps the one that was joined before',
    staged(async (stage) => {
      const rendezvous = await stage.rendezvous('--token-file', stage.home('token'));
      expect(await report(stage, 'alice', rendezvous.join)).toMatchObject({ reached: true });
      const check = ['config', 'check', '--json', '--home', stage.home('alice')];
      const checked = JSON.parse((await stage.run('peer', check).ended).stdout.toString()) as object;
      const from = expect.stringMatching(/^peer join, in /);
      expect(checked).toMatchObject({
        settings: expect.arrayContaining([
          { command: '', option: 'rendezvous', value: rendezvous.url, from },
        ]),
      });
      const before = remembered(stage, 'alice');
      for (const wrong of [`${rendezvous.join}x`, rendezvous.join.replace(/&token=.*/, '')]) {
        const refused = await complaintOf(stage, 'peer', ['join', wrong, '--home', stage.home('alice')]);
        expect(refused).toMatchObject({ status: 3, code: 'TOKEN_INVALID' });
        expect(remembered(stage, 'alice')).toEqual(before);
      }
    }),
  );

  it(
    'trusts the key that it sees where the URL has none',
    staged(async (stage) => {
      const { url, join: whole } = await stage.rendezvous();
      const joined = stage.peer('alice', 'join', url);
      const { deployment } = await joined.event('pin');
      expect(whole).toContain(`id=${String(deployment)}`);
      await joined.ended;
      expect(remembered(stage, 'alice')).toMatchObject({ deployments: { [url]: deployment } });
    }),
  );

  it(
    'remembers one that does not answer, and says so',
    staged(async (stage) => {
      const url = 'http://127.0.0.1:9';
      expect(await report(stage, 'alice', url)).toMatchObject({ url, reached: false });
      expect(remembered(stage, 'alice')).toEqual({ rendezvous: { url } });
      const { stdout } = await stage.run('peer', ['join', url, '--home', stage.home('alice')]).ended;
      expect(stdout.toString()).toMatch(
        /^http:\/\/127\.0\.0\.1:9 is remembered, but did not answer: can't reach .*; check that the server is up/,
      );
    }),
  );
});
