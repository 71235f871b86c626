import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { complaintOf, staged } from './plain.ts';

describe.concurrent('peer invite', () => {
  it(
    'lets a peer that knows nothing but the code join, while `peer up` runs in another process',
    staged(async (stage) => {
      const { join: url } = await stage.rendezvous();
      await stage.peer('bob', 'join', url).ended;
      const up = stage.peer('bob', 'up', '--pipe');
      await up.event('up');
      const { stdout } = await stage.peer('bob', 'invite').ended;
      const { invite, id } = JSON.parse(stdout.toString()) as { invite: string; id: string };

      const joined = await stage.peer('alice', 'join', invite).ended;
      expect(joined.status).toBe(0);
      expect(JSON.parse(joined.stdout.toString())).toMatchObject({ peer: id });
      expect(await up.event('guest')).toMatchObject({ peer: await stage.id('alice') });
      const again = await complaintOf(stage, 'peer', ['join', invite, '--home', stage.home('alice')]);
      expect(again).toMatchObject({ status: 3, code: 'NOT_AUTHORIZED' });
      expect(again.text).toBe(
        'the invite was used, has expired or never was; there, for a new one: peer invite',
      );

      const connect = stage.peer('alice', 'connect', id);
      connect.child.stdin!.end('hello');
      up.child.stdin!.end('good bye');
      expect((await connect.ended).stdout.toString()).toBe('good bye');
      expect((await up.ended).stdout.toString()).toBe('hello');
    }),
  );

  it(
    'is taken by `peer connect` as well, on the way to a forward',
    staged(async (stage) => {
      const server = createServer((socket) => socket.end('served')).listen(0, '127.0.0.1');
      await once(server, 'listening');
      const target = `127.0.0.1:${(server.address() as AddressInfo).port}`;
      const { join: url } = await stage.rendezvous();
      await stage.peer('bob', 'join', url).ended;
      await stage.peer('bob', 'up', '--expose', target).event('up');
      const { stdout } = await stage.peer('bob', 'invite').ended;
      const { invite } = JSON.parse(stdout.toString()) as { invite: string };
      const connect = stage.peer('alice', 'connect', invite, '-W', target);
      connect.child.stdin!.end();
      expect((await connect.ended).stdout.toString()).toBe('served');
      server.close();
    }),
  );

  it(
    'brings the token of its own rendezvous, whatever token file this peer has for another',
    staged(async (stage) => {
      const { join: url } = await stage.rendezvous('--token-file', join(stage.folder, 'token'));
      await stage.peer('bob', 'join', url).ended;
      await stage.peer('bob', 'up', '--expose', '127.0.0.1:1').event('up');
      const elsewhere = join(stage.folder, 'elsewhere');
      writeFileSync(elsewhere, 'another-token');
      const environment = { SALLYPORT_TOKEN_FILE: elsewhere };
      for (const command of [['join'], ['connect', '-W', '127.0.0.1:1']]) {
        const { stdout } = await stage.peer('bob', 'invite').ended;
        const { invite } = JSON.parse(stdout.toString()) as { invite: string };
        const guest = [...command, invite, '--home', stage.home(command[0]!), '--json'];
        const { events } = await stage.run('peer', guest, { environment }).ended;
        expect(events).toContainEqual(expect.objectContaining({ event: 'registered' }));
      }
    }),
  );

  it(
    'and join without a rendezvous, or with a spoilt code, say what to do',
    staged(async (stage) => {
      const home = ['--home', stage.home('bob')];
      const invite = await complaintOf(stage, 'peer', ['invite', ...home]);
      expect(invite).toMatchObject({ status: 2, code: 'USAGE', text: expect.stringContaining('peer join') });
      const join = await complaintOf(stage, 'peer', ['join', 'https://x#invite=abc', ...home]);
      expect(join).toMatchObject({ status: 2, code: 'URL_INVALID' });
    }),
  );
});
