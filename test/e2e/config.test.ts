import { once } from 'node:events';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join, resolve } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { scriptOf } from './commands.ts';
import { complaintOf, staged } from './plain.ts';
import { installed, startProgram } from './programs.ts';

describe.concurrent('the configuration file', () => {
  it(
    'counts less than the environment, and that less than a flag; `peer config check` says so',
    staged(async (stage) => {
      mkdirSync(stage.home('bob'), { recursive: true });
      const file = join(stage.home('bob'), 'config.yaml');
      writeFileSync(
        file,
        'rendezvous: http://file:1\ntoken-file: /file\nquiet: true\nverbose: true\nup: { name: laptop }\n',
      );
      const environment = {
        SALLYPORT_RENDEZVOUS: 'http://environment:1',
        SALLYPORT_TOKEN_FILE: '/environment',
        SALLYPORT_VERBOSE: '0',
      };
      const args = ['config', 'check', '--home', stage.home('bob'), '--json', '--token-file', '/flag'];
      const { stdout, status } = await stage.run('peer', args, { environment }).ended;
      expect(status).toBe(0);
      const { settings } = JSON.parse(stdout.toString()) as { settings: { option: string }[] };
      const by = Object.fromEntries(settings.map((setting) => [setting.option, setting]));
      expect(by).toMatchObject({
        rendezvous: { value: 'http://environment:1', from: 'SALLYPORT_RENDEZVOUS' },
        'token-file': { value: '/flag', from: 'flag' },
        quiet: { value: true, from: `${file}, line 3, quiet` },
        verbose: { value: false, from: 'SALLYPORT_VERBOSE' },
        name: { command: 'up', value: 'laptop', from: `${file}, line 5, up.name` },
      });
      writeFileSync(file, 'ping: { interval: 500ms }\nnat: { timeout: 1m }\n');
      const checked = await stage.run('peer', ['config', 'check', '--home', stage.home('bob')]).ended;
      expect(checked.stdout.toString()).toMatch(/^ping interval: "500ms" .*\nnat timeout: "1m" /m);
      const mistakes = [
        'up:\n  allow: [nobody]\n',
        'up:\n  name: a name\n',
        '\nrendezvous: ftp://x\n',
        '? [a]\n: b\n',
      ];
      for (const text of mistakes) {
        writeFileSync(file, text);
        const wrong = await complaintOf(stage, 'peer', ['config', 'check', '--home', stage.home('bob')]);
        expect(wrong).toMatchObject({
          status: 2,
          code: 'CONFIG_INVALID',
          text: expect.stringMatching(text.startsWith('?') ? /line 1/ : /line 2/),
        });
      }
    }),
  );

  it(
    'says how a command speaks of its failure',
    staged(async (stage) => {
      mkdirSync(stage.home('bob'), { recursive: true });
      const failing = (config: string) => {
        writeFileSync(join(stage.home('bob'), 'config.yaml'), config);
        return stage.run('peer', ['invite', '--home', stage.home('bob')]).ended;
      };
      const { status, events } = await failing('json: true');
      expect(status).toBe(2);
      expect(events).toEqual([expect.objectContaining({ event: 'error', code: 'USAGE' })]);
      const { stderr } = await failing('verbose: true');
      expect(stderr).toMatch(/^error USAGE: .*\n[^]*^ +at /m);
    }),
  );

  it(
    'is read again on SIGHUP, and streams go on',
    staged(async (stage) => {
      const server = createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1');
      await once(server, 'listening');
      const target = `127.0.0.1:${(server.address() as AddressInfo).port}`;
      const { url } = await stage.rendezvous();
      const [alice, carol] = await Promise.all([stage.id('alice'), stage.id('carol')]);
      mkdirSync(stage.home('bob'), { recursive: true });
      const file = join(stage.home('bob'), 'config.yaml');
      const configure = (allow: string[], more: object = {}) =>
        writeFileSync(file, JSON.stringify({ rendezvous: url, up: { allow, expose: [target], ...more } }));
      configure([alice]);
      const up = stage.peer('bob', 'up');
      const { id } = await up.event('up');
      const connect = stage.peer('alice', 'connect', String(id), '-W', target, '--rendezvous', url);
      connect.child.stdin!.write('before');
      await once(connect.child.stdout!, 'data');

      // `bench`, which every peer serves, gives way.
      const expose = [target, `bench=${target}`];
      configure([alice, carol], { name: 'laptop', 'permit-listen': ['any'], expose });
      up.child.kill('SIGHUP');
      expect(await up.event('reloaded')).toMatchObject({
        changed: ['allow', 'expose', 'permit-listen'],
        restart: ['name'],
      });
      const ping = await stage.peer('carol', 'ping', String(id), '-c', '1', '--rendezvous', url).ended;
      expect(ping.status).toBe(0);
      writeFileSync(file, 'up: { colour: red }');
      up.child.kill('SIGHUP');
      const { hint } = await up.event('error', ({ code }) => code === 'CONFIG_INVALID');
      expect(hint).toMatch(/; what was in force still is$/);
      connect.child.stdin!.end(' and after');
      expect((await connect.ended).stdout.toString()).toBe('before and after');
      server.close();
    }),
  );

  it(
    'changes nothing on SIGHUP where files could be sent no more, and the next start would fail',
    staged(async (stage) => {
      const { url } = await stage.rendezvous();
      mkdirSync(stage.home('bob'), { recursive: true });
      const file = join(stage.home('bob'), 'config.yaml');
      const configure = (expose: string[]) =>
        writeFileSync(
          file,
          JSON.stringify({ rendezvous: url, up: { receive: stage.home('taken'), expose } }),
        );
      configure([]);
      const up = stage.peer('bob', 'up');
      await up.event('up');
      configure(['files=127.0.0.1:1']);
      up.child.kill('SIGHUP');
      const { hint } = await up.event('error', ({ code }) => code === 'USAGE');
      expect(hint).toMatch(/; what was in force still is$/);
      await up.stop();
      const again = await stage.peer('bob', 'up').ended;
      expect(again.status).toBe(2);
    }),
  );

  it(
    'is read again although SIGHUP came before the rendezvous had answered',
    staged(async (stage) => {
      const { url, command } = await stage.rendezvous();
      mkdirSync(stage.home('bob'), { recursive: true });
      const file = join(stage.home('bob'), 'config.yaml');
      const allow = (list: string[]) =>
        writeFileSync(file, JSON.stringify({ rendezvous: url, up: { allow: list } }));
      allow([]);
      command.child.kill('SIGSTOP');
      const up = stage.peer('bob', 'up');
      await up.event('waiting');
      allow(['any']);
      up.child.kill('SIGHUP');
      command.child.kill('SIGCONT');
      expect(await up.event('reloaded')).toMatchObject({ changed: ['allow'], restart: [] });
    }),
  );

  it.skipIf(!installed('script'))(
    'is not what SIGHUP is about once the terminal is closed (needs script)',
    staged(async (stage) => {
      const { url } = await stage.rendezvous();
      const command = `${process.execPath} ${scriptOf('peer')} up --rendezvous ${url} --home ${stage.home('bob')}`;
      const terminal = startProgram('script', ['-qfc', command, '/dev/null']);
      const sockets = join(stage.home('bob'), 'agents');
      await vi.waitFor(() => expect(readdirSync(sockets)).toHaveLength(1), 15_000);
      terminal.kill('SIGKILL');
      // It takes its socket away, as it would not had the signal killed it.
      await vi.waitFor(() => expect(readdirSync(sockets)).toHaveLength(0), 15_000);
    }),
  );

  it(
    'and home are named in the unit that `peer service` prints',
    staged(async (stage) => {
      const home = stage.home('a b');
      const { stdout, status } = await stage.run('peer', ['service', '--home', home]).ended;
      expect(status).toBe(0);
      expect(stdout.toString()).toContain(`peer.js up --home "${home}"\n`);
      expect(stdout.toString()).toMatch(/^ExecReload=\/bin\/kill -HUP \$MAINPID$/m);
      // systemd starts it in another folder than this.
      const relative = await stage.run('peer', ['service', '--home', 'a b']).ended;
      expect(relative.stdout.toString()).toContain(`peer.js up --home "${join(process.cwd(), 'a b')}"\n`);
      const args = [
        '--home',
        'h',
        '--rendezvous',
        'https://meet.example',
        '--token-file',
        't',
        '--no-port-mapping',
      ];
      const all = await stage.run('peer', ['service', ...args]).ended;
      const options = `--home ${resolve('h')} --rendezvous https://meet.example --token-file ${resolve('t')} --no-port-mapping\n`;
      expect(all.stdout.toString()).toContain(`peer.js up ${options}`);
    }),
  );
});
