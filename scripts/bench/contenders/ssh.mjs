// openssh: a port that `ssh -L` forwards to an sshd of its own, with keys that are thrown away.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { TemporaryFolder } from '../../../test/netns/temporary-folder.mjs';
import { HOST, wireOf } from '../wire.mjs';

const LOOPBACK = '127.0.0.1';
const CIPHER = 'aes128-gcm@openssh.com'; // as TLS has here

export async function listen(_middle, _variant, onWire) {
  const home = new TemporaryFolder('bench').path;
  for (const name of ['host', 'user'])
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(home, name)]);
  const server = createServer({ noDelay: true }, (socket) => onWire(wireOf(socket)));
  const [target, port] = [await portOf(server), await freePort()];
  const config = [
    `ListenAddress ${HOST}:${port}`,
    `HostKey ${join(home, 'host')}`,
    `AuthorizedKeysFile ${join(home, 'user.pub')}`,
    'PidFile none',
    'UsePAM no',
    'StrictModes no',
    'PermitRootLogin yes',
  ];
  writeFileSync(join(home, 'config'), `${config.join('\n')}\n`);
  if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true });
  run('/usr/sbin/sshd', ['-D', '-e', '-f', join(home, 'config')]);
  await answering(port, HOST);
  return { home, host: HOST, port, target };
}

export async function dial({ home, host, port, target }) {
  const local = await freePort();
  const forward = ['-N', '-L', `${LOOPBACK}:${local}:${LOOPBACK}:${target}`, '-c', CIPHER];
  const trust = ['StrictHostKeyChecking=no', `UserKnownHostsFile=${join(home, 'known')}`, 'BatchMode=yes'];
  const login = [
    '-F',
    '/dev/null',
    '-i',
    join(home, 'user'),
    '-l',
    userInfo().username,
    '-p',
    `${port}`,
    host,
  ];
  run('ssh', [...forward, ...trust.flatMap((each) => ['-o', each]), ...login]);
  await answering(local, LOOPBACK);
  return async () => wireOf(await connected(local, LOOPBACK));
}

/** Ends with this process. */
function run(command, args) {
  const child = spawn(command, args, { stdio: 'ignore' });
  child.on('error', (error) => {
    throw error;
  });
  process.on('exit', () => child.kill());
}

async function portOf(server) {
  server.listen(0, LOOPBACK);
  await once(server, 'listening');
  return server.address().port;
}

async function freePort() {
  const server = createServer();
  const port = await portOf(server);
  server.close();
  return port;
}

async function connected(port, host) {
  const socket = connect({ port, host, noDelay: true });
  await once(socket, 'connect');
  return socket;
}

/** Until somebody accepts there. */
async function answering(port, host) {
  for (let tries = 0; tries < 200; tries += 1) {
    const socket = await connected(port, host).catch(() => undefined);
    if (socket) return void socket.destroy();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`nobody accepts at ${host}:${port}`);
}
