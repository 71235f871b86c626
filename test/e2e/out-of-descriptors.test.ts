import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { describe, expect, it, vi } from 'vitest';
import type { CommandEvent, CommandName, RunOptions } from './commands.ts';
import { staged, stagedFor, upPeer } from './plain.ts';

const MOST = 64;
/** Both limits: Node raises the soft one to the hard one as it starts. */
const limitedTo =
  (most: number): RunOptions['start'] =>
  (file, args, options) =>
    spawn('sh', ['-c', `ulimit -n ${most} && exec "$0" "$@"`, file, ...args], options);
const limited = limitedTo(MOST);
/** With less, Node itself does not get far enough to run anything. */
const LEAST = 16;

describe.runIf(process.platform === 'linux')('a peer that may open no more files', () => {
  it(
    'keeps the sessions of whom its allow list names, and ends those of whom it denies',
    staged(async (stage) => {
      const server = createServer((socket) => socket.on('error', () => {}).pipe(socket)).listen(
        0,
        '127.0.0.1',
      );
      await once(server, 'listening');
      const { url } = await stage.rendezvous();
      const [alice, mallory] = await Promise.all([stage.id('alice'), stage.id('mallory')]);
      for (const id of [alice, mallory]) await stage.peer('bob', 'allow', id).ended;
      const expose = `echo=127.0.0.1:${(server.address() as AddressInfo).port}`;
      const args = ['up', '--rendezvous', url, '--expose', expose, '--home', stage.home('bob'), '--json'];
      const bob = stage.run('peer', args, { start: limited });
      const { id } = await bob.event('up');
      const forwarding = (name: string) =>
        stage.peer(name, 'connect', String(id), '-L', '0:echo', '--rendezvous', url);
      const sockets: Socket[] = [];
      const dial = async (command: ReturnType<typeof forwarding>) => {
        const { listen } = await command.event('forward');
        const socket = connect(Number(String(listen).split(':').at(-1)), '127.0.0.1');
        sockets.push(socket.on('error', () => {}));
        socket.write('.');
        return socket;
      };
      const [friend, foe] = [forwarding('alice'), forwarding('mallory')];
      const stream = await dial(friend);
      await once(stream, 'data');

      for (let count = 0; count < MOST; count++) await dial(foe);
      await bob.event('stream', ({ state, reason }) => state === 'refused' && reason === 'LIMIT');
      expect(readdirSync(`/proc/${bob.child.pid}/fd`).length).toBeGreaterThanOrEqual(MOST - 1);
      // Longer than it takes to look at the list again.
      for (let beat = 0; beat < 15; beat++) {
        stream.write('.');
        await once(stream, 'data');
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      expect(await stage.peer('bob', 'deny', mallory).ended).toMatchObject({ status: 0 });
      expect(await foe.ended).toMatchObject({ status: 3 });
      stream.write('.');
      await once(stream, 'data');
      await vi.waitFor(async () => {
        const again = await dial(friend);
        expect(await Promise.race([once(again, 'data'), once(again, 'close')])).toHaveLength(1);
      }, 15_000);
      expect(bob.events.filter(({ event }) => event === 'error')).toEqual([]);
      for (const socket of sockets) socket.destroy();
      server.close();
    }),
  );
});

describe.runIf(process.platform === 'linux')('a command that may not open all that it needs', () => {
  it.for<Case>([
    [
      'rendezvous start',
      () => ['rendezvous', 'start', '--insecure', '--listen', '127.0.0.1:0', '--stun-port', '0'],
      'listening',
    ],
    [
      'relay start',
      (url) => {
        const where = ['--listen', '127.0.0.1:0', '--stun-port', '0', '--rendezvous', url] as const;
        return ['relay', 'start', '--insecure', ...where];
      },
      'listening',
    ],
    ['peer up', (url) => ['peer', 'up', '--rendezvous', url], 'up'],
    ['peer connect', (url, bob) => ['peer', 'connect', bob, '-L', '0:x', '--rendezvous', url], 'forward'],
  ])(
    '%s says so, in one line with what to do',
    stagedFor<Case>(async (stage, [, lineOf, started]) => {
      const { url } = await stage.rendezvous();
      const bob = await upPeer(stage, url);
      const [name, ...args] = lineOf(url, bob.id);
      const failures: CommandEvent[] = [];
      for (let most = LEAST; ; most++) {
        const home = ['--home', stage.home('alice'), '--json'];
        const command = stage.run(name, [...args, ...home], { start: limitedTo(most) });
        const isUp = await command.event(started).catch(() => undefined);
        await command.stop();
        if (isUp) break;
        failures.push(...command.events.filter(({ event }) => event === 'error'));
      }
      expect(failures.length).toBeGreaterThan(0);
      const hint = expect.stringContaining('ulimit -n') as string;
      for (const failure of failures) expect(failure).toMatchObject({ code: 'LIMIT', hint });
    }),
  );
});

// A command that can't open this file has mostly failed to load its own code before.
it.runIf(process.platform === 'linux')(
  'a configuration file that can not be opened for want of descriptors is no wrong one',
  () => {
    const script = `
    import { openSync } from 'node:fs';
    import { readConfig } from ${JSON.stringify(new URL('../../dist/peer/config.js', import.meta.url).href)};
    try { for (;;) openSync('/dev/null'); } catch {}
    for (const asked of [true, false])
      await readConfig('/dev/null', asked).then(console.log, ({ code, hint }) => console.log(code, hint));`;
    const args = ['--input-type=module', '--eval', script];
    const { stdout } = spawnSync('sh', [
      '-c',
      `ulimit -n ${MOST} && exec "$0" "$@"`,
      process.execPath,
      ...args,
    ]);
    expect(stdout.toString()).toMatch(/^(LIMIT .*ulimit -n.*\n){2}$/);
  },
);

/** A command by its name, its line, and what it says once it does what it is for. */
type Case = readonly [string, (url: string, bob: string) => readonly [CommandName, ...string[]], string];
