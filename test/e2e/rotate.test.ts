import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Stage } from './commands.ts';
import { complaintOf, staged } from './plain.ts';

interface Rotated {
  readonly id: string;
  readonly before: string;
  readonly kept: string;
}

async function rotate(stage: Stage, name: string): Promise<Rotated> {
  const { stdout } = await stage.peer(name, 'rotate').ended;
  return JSON.parse(stdout.toString()) as Rotated;
}

describe.concurrent('peer rotate', () => {
  it(
    'gives a peer another id, which is let in where the old one was, and the old one no more',
    staged(async (stage) => {
      const { url } = await stage.rendezvous();
      const at = ['--rendezvous', url];
      const [alice, bob] = [await stage.id('alice'), await stage.id('bob')];
      await stage.peer('bob', 'allow', `${alice}=bench`).ended;
      const up = stage.peer('bob', 'up', ...at);
      await up.event('up');
      expect((await stage.peer('alice', 'ping', bob, ...at, '--count', '1').ended).status).toBe(0);

      const { id, before, kept } = await rotate(stage, 'alice');
      expect(before).toBe(alice);
      expect(await stage.id('alice')).toBe(id);
      expect((await stage.peer('alice', 'ping', bob, ...at, '--count', '1').ended).status).toBe(0);
      expect(await up.event('successor')).toMatchObject({ peer: id, before });
      const { stdout } = await stage.peer('bob', 'list').ended;
      expect(JSON.parse(stdout.toString())).toMatchObject({
        peers: [
          { id: before, allowed: 'none' },
          { id, allowed: ['bench'] },
        ],
      });
      expect((await stage.peer('alice', 'ping', bob, ...at, '--count', '1').ended).status).toBe(0);
      await stage.peer('thief', 'id', '--import', kept).ended;
      expect(await stage.id('thief')).toBe(before);
      const thief = ['ping', bob, ...at, '--home', stage.home('thief')];
      expect(await complaintOf(stage, 'peer', thief)).toMatchObject({ status: 3, code: 'NOT_AUTHORIZED' });
    }),
  );

  it(
    'leaves a peer to be found by its old id and its name',
    staged(async (stage) => {
      const { url } = await stage.rendezvous();
      const at = ['--rendezvous', url];
      const up = () => stage.peer('bob', 'up', ...at, '--allow', 'any', '--name', 'desk');
      const first = up();
      await first.event('up');
      const met = await stage.peer('alice', 'ping', 'desk', '--accept', ...at, '--count', '1').ended;
      expect(met.status).toBe(0);
      await first.stop();
      const { id, before } = await rotate(stage, 'bob');
      await up().event('up');
      for (const to of ['desk', before]) {
        const { status, events } = await stage.peer('alice', 'ping', to, ...at, '--count', '1').ended;
        expect(status).toBe(0);
        expect(events).toContainEqual(expect.objectContaining({ event: 'successor', peer: id, before }));
      }
      const { stdout } = await stage.peer('alice', 'list').ended;
      expect(JSON.parse(stdout.toString())).toMatchObject({ peers: [{ id, names: ['desk'] }] });
    }),
  );

  it(
    'leaves the key alone while something runs with it, and where there is none',
    staged(async (stage) => {
      const nobody = await complaintOf(stage, 'peer', ['rotate', '--home', stage.home('nobody')]);
      expect(nobody).toMatchObject({ status: 2, code: 'USAGE' });
      const { url } = await stage.rendezvous();
      const id = await stage.id('bob');
      const up = stage.peer('bob', 'up', '--rendezvous', url);
      await up.event('up');
      const refused = await complaintOf(stage, 'peer', ['rotate', '--home', stage.home('bob')]);
      expect(refused).toMatchObject({ status: 2, code: 'USAGE' });
      expect(refused.text).toContain(`in use by process ${up.child.pid}`);
      expect(await stage.id('bob')).toBe(id);
      await up.stop('SIGKILL');
      expect((await rotate(stage, 'bob')).before).toBe(id);
    }),
  );

  it(
    'by two at once loses no key that was told of',
    staged(async (stage) => {
      const first = await stage.id('bob');
      const both = await Promise.all([1, 2].map(() => stage.peer('bob', 'rotate').ended));
      const done = both.filter(({ status }) => status === 0);
      const kept = readdirSync(stage.home('bob')).includes('retired')
        ? readdirSync(join(stage.home('bob'), 'retired'))
        : [];
      expect(kept).toHaveLength(done.length);
      const told = done.map(({ stdout }) => (JSON.parse(stdout.toString()) as Rotated).id);
      expect([first, ...told].toSorted()).toEqual([...kept, await stage.id('bob')].toSorted());
    }),
  );
});
