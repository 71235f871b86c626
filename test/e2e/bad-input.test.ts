import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Server } from 'node:net';
import { createServer as createHttpServer } from 'node:http';
import { createSocket } from 'node:dgram';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { parseEndpoint } from '../../src/core/endpoint.ts';
import { type SallyportError } from '../../src/core/errors.ts';
import { issueTicket } from '../../src/core/protocol/ticket.ts';
import { loadIdentity } from '../../src/net/identity-file.ts';
import { RelayLink } from '../../src/net/relay-link.ts';
import { serverTime } from '../../src/net/server-clock.ts';
import type { CommandName, RunOptions, Stage } from './commands.ts';
import { complaintIn, complaintOf, staged, stagedFor, upPeer } from './plain.ts';

// Many processes at once, on a machine that may have other work.
vi.setConfig({ testTimeout: 120_000 });

const NOWHERE = 'http://127.0.0.1:9';
/** Well formed, and nobody's that is up. */
const STRANGER = 'qqt7yhqpgd7tm2tqarlq6cmfgytmuyhpzoxove4e3e3mejqlcxnq';

async function portOf(server: Server): Promise<number> {
  if (!server.listening) await once(server.listen(0, '127.0.0.1'), 'listening');
  return (server.address() as AddressInfo).port;
}

/** `peer …` of a peer with this name, without `--json`. */
function peerComplaint(stage: Stage, name: string, ...args: string[]) {
  return complaintOf(stage, 'peer', [...args, '--home', stage.home(name)]);
}

describe.concurrent('a command line that makes no sense', () => {
  it.for<[string, CommandName, string[], string, RegExp]>([
    ['an unknown command', 'peer', ['fly'], 'USAGE', /unknown command 'fly'; see --help/],
    ['help with an unknown command', 'peer', ['help', 'fly'], 'USAGE', /unknown command 'fly'; see --help/],
    [
      'two targets under one name',
      'peer',
      ['up', '--expose', 'a=b:1', '--expose', 'a=b:1/udp', '--expose', 'a=b:1', '--expose', 'a=b:2'],
      'USAGE',
      /"a" would stand for both b:1 and b:2; give each a name/,
    ],
    [
      'an option before the command',
      'peer',
      ['--quiet', 'id'],
      'USAGE',
      /'--quiet'; options go behind the command; see --help/,
    ],
    [
      'an option that is like another',
      'peer',
      ['id', '--hom', 'x'],
      'USAGE',
      /'--hom' \(Did you mean --home\?\); see/,
    ],
    ['an unknown option', 'peer', ['id', '--fly'], 'USAGE', /unknown option '--fly'; see --help/],
    ['no peer to connect to', 'peer', ['connect'], 'USAGE', /missing required argument 'id\|name/],
    ['too many peers', 'peer', ['connect', 'a', 'b'], 'USAGE', /too many arguments/],
    ['an option without its value', 'peer', ['connect', 'a', '-L'], 'USAGE', /argument missing/],
    ['a forward that is none', 'peer', ['connect', 'a', '-L', 'x'], 'USAGE', /"x"; write \[bind:\]port/],
    ['a port too high', 'peer', ['connect', 'a', '-L', '70000:x'], 'USAGE', /"70000:x"; write/],
    [
      'datagrams to a Unix socket',
      'peer',
      ['connect', 'a', '-L', '1:/x/udp'],
      'USAGE',
      /"1:\/x\/udp"; write/,
    ],
    ['SOCKS5 for everybody', 'peer', ['connect', 'a', '-D', '0.0.0.0:1'], 'USAGE', /needs no password/],
    ['SOCKS5 on a port below 0', 'peer', ['connect', 'a', '-D', '-1'], 'USAGE', /"-1"; write \[bind:\]port/],
    ['-R to a service', 'peer', ['connect', 'a', '-R', '1:web'], 'USAGE', /"1:web"; write \[bind:\]port/],
    ['-R on a Unix socket', 'peer', ['connect', 'a', '-R', '/a:x:1'], 'UNSUPPORTED', /listens on ports only/],
    ['a permit for a name', 'peer', ['up', '--permit-listen', 'x:1'], 'USAGE', /"x:1"; write \[bind:\]port/],
    ['an unknown kind of path', 'peer', ['connect', 'a', '--paths', 'fax'], 'USAGE', /"fax"; write some of/],
    ['no kind of path', 'peer', ['connect', 'a', '--paths', ''], 'USAGE', /udp,tcp,relay/],
    ['a target without a port', 'peer', ['connect', 'a', '-W', 'host:0'], 'USAGE', /write host:port, /],
    ['-W with -L', 'peer', ['connect', 'a', '-W', 'x', '-L', '0:x'], 'USAGE', /do not go together/],
    ['an exposure without a port', 'peer', ['up', '--expose', 'web'], 'USAGE', /"web"; write /],
    ['a rule for nobody', 'peer', ['up', '--allow', 'bob'], 'USAGE', /52 characters/],
    ['an id that is none to allow', 'peer', ['allow', 'bob'], 'USAGE', /not a peer id: "bob"/],
    ['an id that is none to deny', 'peer', ['deny', 'bob'], 'USAGE', /not a peer id: "bob"/],
    [
      'a name with a space',
      'peer',
      ['up', '--name', 'my laptop'],
      'USAGE',
      /"my laptop"; a name has up to 63/,
    ],
    [
      'a forward too long',
      'peer',
      ['connect', 'a', '-L', 'a'.repeat(100_000)],
      'USAGE',
      /aaa…; write \[bind/,
    ],
    [
      'a target too long',
      'peer',
      ['connect', 'a', '-W', `${'a'.repeat(254)}:1`],
      'USAGE',
      /"; write it as host/,
    ],
    ['a service too long', 'peer', ['connect', 'a', '-W', 'a'.repeat(254)], 'USAGE', /"; write it as host/],
    [
      'a path too long',
      'peer',
      ['connect', 'a', '-W', `/${'a'.repeat(100_000)}`],
      'USAGE',
      /aaa…; a path of at/,
    ],
    ['a host too long', 'peer', ['join', `http://${'a'.repeat(100_000)}`], 'URL_INVALID', /so long a name/],
    ['an odd command', 'peer', ['a'.repeat(100_000)], 'USAGE', /unknown command 'a{400,600}…; see --help/],
    ['a count of nothing', 'peer', ['ping', 'a', '-c', '0'], 'USAGE', /from 1 to 1000000; see --help/],
    [
      'no duration',
      'peer',
      ['ping', 'a', '-i', 'soon'],
      'USAGE',
      /such as 2s or 500ms, from 0ms to 3600000ms;/,
    ],
    ['too short a time', 'peer', ['nat', '--timeout', '500ms'], 'USAGE', /from 1s to 600s; see --help/],
    [
      'a URL with the wrong scheme',
      'peer',
      ['up', '--rendezvous', 'ftp://x'],
      'URL_INVALID',
      /https:\/\/host/,
    ],
    ['a URL with a path', 'peer', ['join', 'https://x/y'], 'URL_INVALID', /more than a host and a port/],
    ['no URL', 'peer', ['join', 'somewhere'], 'URL_INVALID', /it is not a URL: "somewhere"/],
    ['no rendezvous', 'peer', ['up'], 'USAGE', /run `peer join <url>` .* or give --rendezvous/],
    [
      'a rendezvous on no port',
      'rendezvous',
      ['start', '--listen', 'here', '--insecure'],
      'USAGE',
      /write it as host:port/,
    ],
    ['a rendezvous without TLS', 'rendezvous', ['start', '--listen', '127.0.0.1:0'], 'USAGE', /--tls-cert/],
    ['a STUN server without sense', 'peer', ['nat', '--stun', 'a:b:c'], 'USAGE', /write it as host:port/],
    ['a STUN server on no port', 'peer', ['nat', '--stun', '127.0.0.1:0'], 'USAGE', /port 0 is no server's/],
    ['a relay of nobody', 'relay', ['start'], 'USAGE', /'--rendezvous <url>' not specified/],
  ])(
    'is refused with status 2: %s',
    stagedFor(async (stage, [_what, name, args, code, text]) => {
      const complaint = await complaintOf(stage, name, args, {
        XDG_CONFIG_HOME: stage.folder,
        XDG_STATE_HOME: stage.folder,
      });
      expect(complaint).toMatchObject({ status: 2, code });
      expect(complaint.text).toMatch(text);
    }),
  );

  it(
    'gets one line of plain text, whatever a file is called',
    staged(async (stage) => {
      const missing = join(stage.folder, 'no\nsuch\x1b[2J');
      const { status, code, text } = await complaintOf(stage, 'peer', ['send', 'a', missing]);
      expect({ status, code }).toEqual({ status: 1, code: 'FILE_FAILED' });
      expect(text).toMatch(/no\ufffdsuch\ufffd\[2J: there is no such file$/);
    }),
  );

  it(
    'gets its error as one object with --json, hint included',
    staged(async (stage) => {
      const { status, stderr, events } = await stage.peer('x', 'up', '--rendezvous', 'ftp://x').ended;
      expect(status).toBe(2);
      expect(stderr.trim().split('\n')).toHaveLength(1);
      expect(events[0]).toMatchObject({ event: 'error', code: 'URL_INVALID' });
      expect(events[0]?.['hint']).toMatch(/^write https/);
    }),
  );
});

describe.concurrent('a file that is not as it should be', () => {
  const key = (stage: Stage) => join(stage.home('bob'), 'key');

  it(
    'is a key that others may read',
    staged(async (stage) => {
      const id = await stage.id('bob');
      chmodSync(key(stage), 0o644);
      const complaint = await peerComplaint(stage, 'bob', 'id');
      expect(complaint).toMatchObject({ status: 2, code: 'KEY_FILE_MODE' });
      expect(complaint.text).toMatch(/mode 644.*; run: chmod 600 .*\/key$/);
      chmodSync(key(stage), 0o600);
      expect(await stage.id('bob')).toBe(id);
    }),
  );

  it.for<[string, string | Buffer]>([
    ['with nothing in it', ''],
    ['cut short', 'sallyport-ed25519-seed AAAA\n'],
    ['of rubbish', randomBytes(80)],
  ])(
    'is a key file %s, which stays as it is',
    stagedFor(async (stage, [_how, content]) => {
      await stage.id('bob');
      writeFileSync(key(stage), content);
      const complaint = await peerComplaint(stage, 'bob', 'up', '--rendezvous', NOWHERE);
      expect(complaint).toMatchObject({ status: 2, code: 'KEY_FILE_INVALID' });
      expect(complaint.text).toMatch(/restore it from a backup/);
      expect(readFileSync(key(stage))).toEqual(Buffer.from(content));
    }),
  );

  it.for<[string, string, string, RegExp]>([
    ['settings of rubbish', 'settings.json', '{"rendezvous":', /is not JSON; mend it/],
    ['settings of another shape', 'settings.json', '{"rendezvous":{"url":1}}', /rendezvous\.url.*; mend it/],
    ['an allow list with a typing error', 'allow', `# friends\n${STRANGER}\nbob\n`, /line 3: not a rule/],
  ])(
    'is %s',
    stagedFor(async (stage, [_what, file, content, text]) => {
      await stage.id('bob');
      writeFileSync(join(stage.home('bob'), file), content, { mode: 0o600 });
      const complaint = await peerComplaint(stage, 'bob', 'up', '--rendezvous', NOWHERE);
      expect(complaint).toMatchObject({ status: 2, code: 'CONFIG_INVALID' });
      expect(complaint.text).toMatch(text);
    }),
  );

  it(
    'is a home that is no folder, a token file that is not there, a certificate that is none',
    staged(async (stage) => {
      writeFileSync(stage.home('file'), '');
      const home = await peerComplaint(stage, 'file/home', 'id');
      expect(home).toMatchObject({ status: 2, code: 'CONFIG_INVALID' });
      expect(home.text).toMatch(/ENOTDIR.*--home/);
      const itself = await peerComplaint(stage, 'file', 'id');
      expect(itself).toMatchObject({ status: 2, code: 'CONFIG_INVALID' });
      expect(itself.text).toMatch(/file\/key \(ENOTDIR\); a file stands where a folder should/);
      for (const taking of [
        ['receive', '--dir'],
        ['up', '--receive'],
      ]) {
        for (const folder of [stage.home('file'), join(stage.home('file'), 'in')]) {
          const files = await peerComplaint(stage, 'bob', ...taking, folder, '--rendezvous', NOWHERE);
          expect(files).toMatchObject({ status: 2, code: 'CONFIG_INVALID' });
          expect(files.text).toMatch(/it is a file, or in one; give a folder/);
        }
      }
      const nowhere = await complaintOf(stage, 'peer', ['id', '--home', '/proc/x']); // where nobody can make one
      expect(nowhere).toMatchObject({ status: 2, code: 'CONFIG_INVALID' });
      expect(nowhere.text).toMatch(/can't write \/proc\/x\/key \(ENOENT\).*--home/);
      const token = ['--rendezvous', NOWHERE, '--token-file', stage.home('missing')];
      const missing = await peerComplaint(stage, 'bob', 'up', ...token);
      expect(missing).toMatchObject({ status: 2, code: 'CONFIG_INVALID' });
      expect(missing.text).toMatch(/token file .*missing \(ENOENT\)/);
      const tls = ['--tls-cert', stage.home('file'), '--tls-key', stage.home('file')];
      const args = ['start', '--listen', '127.0.0.1:0', '--open', '--home', stage.home('r'), ...tls];
      expect(await complaintOf(stage, 'rendezvous', args)).toMatchObject({
        status: 2,
        code: 'CONFIG_INVALID',
      });
    }),
  );
});

describe.concurrent('a rendezvous', () => {
  it.for<[string, CommandName, string[]]>([
    ['relay', 'relay', ['start', '--insecure', '--listen', '127.0.0.1:0', '--stun-port', '0']],
    ['peer', 'peer', ['up']],
  ])(
    'that never answers keeps no %s from being stopped',
    stagedFor(async (stage, [_who, name, args]) => {
      const silent = createServer();
      const at = `127.0.0.1:${await portOf(silent)}`;
      const knocked = once(silent, 'connection');
      const command = stage.run(name, [...args, '--rendezvous', `http://${at}`, '--home', stage.home('x')]);
      await knocked;
      expect(await command.stop('SIGINT')).toMatchObject({ status: 0, stderr: '' });
      silent.close();
    }),
  );

  it.for([['plan', STRANGER], ['nat']])(
    'that does not answer at once is told of by peer %s',
    stagedFor(async (stage, command) => {
      const silent = createServer();
      const at = `http://127.0.0.1:${await portOf(silent)}`;
      const waiting = stage.run('peer', [...command, '--rendezvous', at, '--home', stage.home('x')]);
      await waiting.line(/^no answer from the rendezvous yet$/);
      expect(await waiting.stop('SIGINT')).toMatchObject({ status: 0 });
      silent.close();
    }),
  );

  it(
    'that is down, or no rendezvous at all, is status 5',
    staged(async (stage) => {
      const down = await peerComplaint(stage, 'bob', 'up', '--rendezvous', NOWHERE);
      expect(down).toMatchObject({ status: 5, code: 'RENDEZVOUS_UNREACHABLE' });
      expect(down.text).toMatch(/ECONNREFUSED.*; check that the server is up/);
      const web = createHttpServer((_request, response) => response.end('hello'));
      const other = `http://127.0.0.1:${await portOf(web)}`;
      for (const command of [['connect', STRANGER], ['nat']]) {
        const complaint = await peerComplaint(stage, 'bob', ...command, '--rendezvous', other);
        expect(complaint).toMatchObject({ status: 5, code: 'RENDEZVOUS_UNREACHABLE' });
      }
      const noise = createServer((socket) => {
        socket.on('error', () => {});
        socket.end(randomBytes(10_000));
      });
      const rubbish = `http://127.0.0.1:${await portOf(noise)}`;
      expect(await peerComplaint(stage, 'bob', 'up', '--rendezvous', rubbish)).toMatchObject({ status: 5 });
      web.close();
      noise.close();
    }),
  );

  it(
    'admits by its token alone, and its key is checked',
    staged(async (stage) => {
      writeFileSync(stage.home('token'), 'a-token-of-twenty-chars\n', { mode: 0o600 });
      const { url, join: joinUrl } = await stage.rendezvous('--token-file', stage.home('token'));
      const none = await peerComplaint(stage, 'bob', 'up', '--rendezvous', url);
      expect(none).toMatchObject({ status: 3, code: 'TOKEN_INVALID' });
      expect(none.text).toMatch(/`peer join <url>`/);
      const wrong = await peerComplaint(stage, 'bob', 'up', '--rendezvous', `${url}#token=wrong-wrong-wrong`);
      expect(wrong).toMatchObject({ status: 3, code: 'TOKEN_INVALID' });
      expect(wrong.text).toMatch(/another join token; .*`peer join/);
      const imposter = joinUrl.replace(/id=[^&]*/, `id=${STRANGER}`);
      expect(await peerComplaint(stage, 'bob', 'up', '--rendezvous', imposter)).toMatchObject({
        status: 3,
        code: 'IDENTITY_CHANGED',
      });
      const up = stage.peer('bob', 'up', '--rendezvous', joinUrl);
      await up.event('registered');
    }),
  );

  it(
    'takes one `peer up` of a key, and the first goes on',
    staged(async (stage) => {
      const { url } = await stage.rendezvous();
      const { id, up } = await upPeer(stage, url, '--pipe', '--name', 'bob');
      const second = await peerComplaint(stage, 'bob', 'up', '--rendezvous', url);
      expect(second).toMatchObject({ status: 2, code: 'ALREADY_REGISTERED' });
      expect(second.text).toMatch(
        /already up in another process; stop the other one, or give this one a key of its own/,
      );
      const named = await peerComplaint(stage, 'carol', 'up', '--rendezvous', url, '--name', 'bob');
      expect(named).toMatchObject({ status: 2, code: 'ALREADY_REGISTERED' });
      expect(named.text).toMatch(/^the name bob belongs to another peer; .*--name/);
      const alice = stage.peer('alice', 'connect', id, '--rendezvous', url);
      alice.child.stdin!.end('still here');
      up.child.stdin!.end();
      expect((await up.ended).stdout.toString()).toBe('still here');
      expect(await alice.ended).toMatchObject({ status: 0 });
    }),
  );
});

describe.concurrent('a peer', () => {
  it(
    'that nobody is, that is not up, or that is oneself',
    staged(async (stage) => {
      const { url } = await stage.rendezvous();
      const to = (whom: string) => peerComplaint(stage, 'alice', 'connect', whom, '--rendezvous', url);
      const [nobody, mistyped, offline, cut, unnamed, noName, oneself] = await Promise.all([
        to('a'.repeat(52)),
        to(`${STRANGER.slice(0, -1)}b`),
        to(STRANGER),
        to(STRANGER.slice(1)),
        to('bob'),
        to('a'.repeat(100_000)),
        to(await stage.id('alice')),
      ]);
      expect(nobody).toMatchObject({ status: 4, code: 'PEER_OFFLINE' });
      expect(nobody.text).toMatch(/check it for a typing error/);
      expect(mistyped).toMatchObject({ status: 4, code: 'PEER_OFFLINE' });
      expect(mistyped.text).toMatch(/; check the id for a typing error$/);
      expect(offline).toMatchObject({ status: 4, code: 'PEER_OFFLINE' });
      expect(offline.text).toMatch(/`peer up` runs there/);
      expect(cut).toMatchObject({ status: 4, code: 'PEER_OFFLINE' });
      expect(cut.text).toMatch(/; an id has 52 characters, this has 51: copy it whole$/);
      expect(unnamed).toMatchObject({ status: 4, code: 'PEER_OFFLINE' });
      expect(unnamed.text).toMatch(/^nobody is registered as "bob"; check the name, and that `peer up` runs/);
      expect(noName).toMatchObject({ status: 2, code: 'USAGE' });
      expect(noName.text).toMatch(/^not a name for a peer: "a{400,500}…; a name has up to 63/);
      expect(oneself).toMatchObject({ status: 2, code: 'USAGE' });
      expect(oneself.text).toMatch(/this very peer/);
    }),
  );

  it(
    'that is oneself is not put on the allow list, and one that allows nobody says so',
    staged(async (stage) => {
      const { url } = await stage.rendezvous();
      const allowed = await peerComplaint(stage, 'bob', 'allow', await stage.id('bob'));
      expect(allowed).toMatchObject({ status: 2, code: 'USAGE' });
      expect(allowed.text).toMatch(/this very peer; give the other one's$/);
      const said = async (...options: string[]) => {
        const args = ['up', '--rendezvous', url, '--home', stage.home('bob'), ...options];
        const up = stage.run('peer', args);
        await up.line(/^this peer is /);
        return (await up.stop('SIGTERM')).stderr;
      };
      expect(await said()).toMatch(/^nobody is allowed to connect yet: peer allow <id>, or peer invite$/m);
      expect(await said('--allow', 'any')).not.toMatch(/nobody is allowed/);
      await stage.peer('bob', 'allow', STRANGER).ended;
      expect(await said()).not.toMatch(/nobody is allowed/);
    }),
  );

  it(
    'that does not allow us says nothing else, and how to be allowed',
    staged(async (stage) => {
      const { url } = await stage.rendezvous();
      const id = await stage.id('bob');
      const alice = await stage.id('alice');
      const up = stage.peer('bob', 'up', '--rendezvous', url, '--pipe');
      await up.event('registered');
      const complaint = await peerComplaint(stage, 'alice', 'connect', id, '--rendezvous', url);
      expect(complaint).toMatchObject({ status: 3, code: 'NOT_AUTHORIZED' });
      expect(complaint.text).toMatch(new RegExp(`; there: peer allow ${alice}$`));
      expect(up.events.some(({ event }) => event === 'session')).toBe(false);
    }),
  );

  it(
    'whose name was never met is not trusted by the rendezvous’s word',
    staged(async (stage) => {
      const { url } = await stage.rendezvous();
      await upPeer(stage, url, '--name', 'bob');
      const complaint = await peerComplaint(stage, 'alice', 'connect', 'bob', '--rendezvous', url);
      expect(complaint).toMatchObject({ status: 3, code: 'NAME_UNPINNED' });
      expect(complaint.text).toMatch(/add --accept/);
    }),
  );
});

describe.concurrent('a target', () => {
  it(
    'that refuses, is not exposed or unknown ends -W with its code',
    staged(async (stage) => {
      const closed = createServer();
      const port = await portOf(closed);
      closed.close();
      const { url } = await stage.rendezvous();
      const { id } = await upPeer(
        stage,
        url,
        '--expose',
        `127.0.0.1:${port}`,
        '--expose',
        'x=host.invalid:1',
      );
      const at = (...target: string[]) =>
        peerComplaint(stage, 'alice', 'connect', id, ...target, '--rendezvous', url);
      const [refused, unexposed, socket, unknown, pipe, unresolved] = await Promise.all([
        at('-W', `127.0.0.1:${port}`),
        at('-W', '127.0.0.1:22'),
        at('-W', '/run/docker.sock'),
        at('-W', 'web'),
        at(),
        at('-W', 'x'),
      ]);
      expect(refused).toMatchObject({ status: 1, code: 'TARGET_REFUSED' });
      expect(refused.text).toMatch(/refused the connection; check that it runs there/);
      expect(unexposed).toMatchObject({ status: 3, code: 'NOT_AUTHORIZED' });
      expect(unexposed.text).toMatch(/this peer; there: .*peer up --expose/);
      expect(socket).toMatchObject({ status: 3, code: 'NOT_AUTHORIZED' });
      expect(socket.text).toMatch(/docker\.sock to this peer; there: .*`--expose \/path`/);
      expect(unknown).toMatchObject({ status: 1, code: 'SERVICE_UNKNOWN' });
      expect(unknown.text).toMatch(/"web"; there: peer up --expose/);
      expect(pipe).toMatchObject({ status: 1, code: 'SERVICE_UNKNOWN' });
      expect(unresolved).toMatchObject({ status: 1, code: 'TARGET_UNREACHABLE' });
    }),
  );

  it(
    'that refuses resets the connection of -L, which goes on',
    staged(async (stage) => {
      const target = createServer((socket) => socket.on('error', () => {}).end('late'));
      const port = await portOf(target);
      target.close();
      const { url } = await stage.rendezvous();
      const { id } = await upPeer(stage, url, '--expose', `web=127.0.0.1:${port}`);
      const alice = stage.peer('alice', 'connect', id, '-L', '0:web', '--rendezvous', url);
      const listen = parseEndpoint(String((await alice.event('forward'))['listen']));
      const refused = connect(listen.port, listen.address);
      const [error] = (await once(refused, 'error')) as [NodeJS.ErrnoException];
      expect(error.code).toBe('ECONNRESET');
      expect(await alice.event('error')).toMatchObject({ code: 'TARGET_REFUSED' });
      await once(target.listen(port, '127.0.0.1'), 'listening');
      const accepted = connect(listen.port, listen.address).on('error', () => {});
      const [bytes] = (await once(accepted, 'data')) as [Buffer];
      expect(bytes.toString()).toBe('late');
      target.close();
      expect(await alice.stop('SIGTERM')).toMatchObject({ status: 0 });
    }),
  );

  it(
    'named by a stranger’s odd characters stays one line in the log',
    staged(async (stage) => {
      const { url } = await stage.rendezvous();
      const id = await stage.id('bob');
      const args = ['up', '--rendezvous', url, '--allow', 'any', '--home', stage.home('bob')];
      const up = stage.run('peer', args);
      await up.line(/this peer is/);
      const forged = 'x\nerror FORGED \u001b[2J';
      await peerComplaint(stage, 'alice', 'connect', id, '-W', forged, '--rendezvous', url);
      await up.line(/refused: SERVICE_UNKNOWN/);
      const { stderr } = await up.stop();
      expect(stderr).not.toMatch(/^error FORGED/m);
      expect(stderr).not.toContain('\u001b');
    }),
  );
});

describe.concurrent('a port that is taken', () => {
  it(
    'is PORT_IN_USE for every listener, status 2',
    staged(async (stage) => {
      const taken = createServer();
      const port = await portOf(taken);
      const here = `127.0.0.1:${port}`;
      const home = ['--home', stage.home('r2'), '--insecure'];
      const { url } = await stage.rendezvous();
      const { id } = await upPeer(stage, url, '--expose', `web=${here}`);
      const free = ['--listen', '127.0.0.1:0'];
      const udp = createSocket('udp4').bind(0, '127.0.0.1');
      await once(udp, 'listening');
      const stun = ['--stun-port', String(udp.address().port)];
      const complaints = await Promise.all([
        complaintOf(stage, 'rendezvous', ['start', '--listen', here, '--stun-port', '0', '--open', ...home]),
        complaintOf(stage, 'rendezvous', ['start', ...free, ...stun, '--open', ...home]),
        complaintOf(stage, 'relay', [
          'start',
          '--listen',
          here,
          '--stun-port',
          '0',
          '--rendezvous',
          url,
          ...home,
        ]),
        peerComplaint(stage, 'alice', 'connect', id, '-L', `${port}:web`, '--rendezvous', url),
      ]);
      for (const complaint of complaints) {
        expect(complaint).toMatchObject({ status: 2, code: 'PORT_IN_USE' });
        expect(complaint.text).toMatch(/; choose another/);
      }
      udp.close();
      taken.close();
    }),
  );
});

describe.concurrent('a relay ticket', () => {
  it(
    'that is expired, another deployment’s, another relay’s or another peer’s opens nothing',
    staged(async (stage) => {
      const { url } = await stage.rendezvous();
      const deployment = loadIdentity(join(stage.home('rendezvous'), 'rendezvous.key'));
      mkdirSync(stage.home('keys'), { mode: 0o700 });
      const [alice, other] = ['a', 'b'].map((name) => loadIdentity(join(stage.home('keys'), name)));
      const link = new RelayLink({ url });
      const opened = async (signer: typeof deployment, fields: object) => {
        const ticket = issueTicket(signer, {
          circuit: new Uint8Array(randomBytes(16)),
          leg: 0,
          peer: alice!.id,
          relay: deployment.id,
          expires: serverTime() + 60_000,
          bytesPerSecond: 0,
          ...fields,
        });
        return await link.open(ticket, alice!).then(
          () => 'opened',
          (refused: SallyportError) => refused.code,
        );
      };
      expect(await opened(deployment, { expires: serverTime() - 1 })).toBe('TICKET_EXPIRED');
      expect(await opened(other!, {})).toBe('TICKET_INVALID');
      expect(await opened(deployment, { relay: other!.id })).toBe('TICKET_INVALID');
      expect(await opened(deployment, { peer: other!.id })).toBe('TICKET_INVALID');
      link.close();
    }),
  );
});

describe('closed standard streams', () => {
  it(
    'end a report quietly and a stream with a word',
    staged(async (stage) => {
      const source = createServer((socket) => {
        socket.on('error', () => {});
        const pour = () => {
          while (socket.write(Buffer.alloc(64 * 1024)));
        };
        socket.on('drain', pour);
        pour();
      });
      const { url } = await stage.rendezvous();
      const { id, up } = await upPeer(stage, url, '--expose', `source=127.0.0.1:${await portOf(source)}`);
      const status = stage.peer('bob', 'status');
      status.child.stdout!.destroy();
      expect(await status.ended).toMatchObject({ status: 0, stderr: '' });

      const args = ['connect', id, '-W', 'source', '--rendezvous', url, '--home', stage.home('alice')];
      const alice = stage.run('peer', args);
      await once(alice.child.stdout!, 'data');
      alice.child.stdout!.destroy();
      const complaint = await complaintIn(alice);
      expect(complaint).toMatchObject({ status: 1, code: 'STREAM_RESET' });
      expect(complaint.text).toMatch(/standard output was closed before everything had passed/);
      await up.event('stream', ({ state }) => state === 'closed');
      source.close();
    }),
  );

  it.runIf(existsSync('/dev/full'))(
    'that are on a full disk are told of, by reports and by streams',
    staged(async (stage) => {
      const source = createServer((socket) => socket.on('error', () => {}).end(Buffer.alloc(1_000_000)));
      const { url } = await stage.rendezvous();
      const { id } = await upPeer(stage, url, '--expose', `source=127.0.0.1:${await portOf(source)}`);
      const start: RunOptions['start'] = (file, args, options) =>
        spawn('sh', ['-c', 'exec "$0" "$@" >/dev/full', file, ...args], options);
      for (const args of [['id'], ['status'], ['connect', id, '-W', 'source', '--rendezvous', url]]) {
        const command = stage.run('peer', [...args, '--home', stage.home('alice')], { start });
        command.child.stdin!.end();
        const complaint = await complaintIn(command);
        expect(complaint).toMatchObject({ status: 1, code: 'DISK_FULL' });
        expect(complaint.text).toBe('what was printed could not be written (ENOSPC)');
      }
      source.close();
    }),
  );
});
