import { describe, expect, it } from 'vitest';
import { complaintOf, staged } from './plain.ts';

describe.concurrent('what a home holds', () => {
  it(
    'is a key that moves into a new one, and into no other',
    staged(async (stage) => {
      const [file, laptop] = [stage.home('backup'), stage.home('laptop')];
      const { stdout } = await stage.peer('desk', 'id', '--export', file).ended;
      const { id } = JSON.parse(stdout.toString()) as { id: string };
      expect((await stage.peer('laptop', 'id', '--import', file).ended).status).toBe(0);
      expect(await stage.id('laptop')).toBe(id);
      const again = await complaintOf(stage, 'peer', ['id', '--import', file, '--home', laptop]);
      expect(again).toMatchObject({ status: 2, code: 'USAGE' });
    }),
  );

  it(
    'is said to be this peer, where its key goes into a file',
    staged(async (stage) => {
      const file = stage.home('backup');
      const { stdout, stderr } = await stage.run('peer', [
        'id',
        '--export',
        file,
        '--home',
        stage.home('desk'),
      ]).ended;
      expect(stdout.toString()).toMatch(/^[a-z2-7]{52}\n$/);
      expect(stderr.trimEnd()).toBe(`${file} holds the private key: whoever has it is this peer`);
    }),
  );

  it(
    'is listed: who is allowed what',
    staged(async (stage) => {
      const nobody = await stage.run('peer', ['list', '--home', stage.home('bob')]).ended;
      expect(nobody.stdout.toString()).toBe('no peer is known here yet\n');
      const alice = await stage.id('alice');
      await stage.peer('bob', 'allow', `${alice}=web,ssh`).ended;
      const { stdout } = await stage.peer('bob', 'list').ended;
      expect(JSON.parse(stdout.toString())).toEqual({
        peers: [{ id: alice, names: [], allowed: ['web', 'ssh'] }],
      });
      const words = await stage.run('peer', ['list', '--home', stage.home('bob')]).ended;
      expect(words.stdout.toString()).toBe(`${alice}  allowed web, ssh\n`);
    }),
  );
});
