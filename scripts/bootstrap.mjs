// Makes a fresh clone ready, with nothing but Node and npm at hand:
//   node scripts/bootstrap.mjs [--system] [--clients] [--build] [--bench]
// --system  Debian packages that the laboratory and some tests need (installed when root, named when not)
// --clients the large ones among the programs that are tried through forwards (npm run clients)
// --build   compiles to dist/
// --bench   the packages that benchmarks compare with
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Command, Debian package, and what is left out without it. */
const SYSTEM = [
  ['ip', 'iproute2', 'everything in network namespaces (test/netns, the lab, the demo on real NATs)'],
  ['nft', 'nftables', 'everything in network namespaces (test/netns, the lab, the demo on real NATs)'],
  ['iptables', 'iptables', 'everything in network namespaces (test/netns, the lab, the demo on real NATs)'],
  ['conntrack', 'conntrack', "the NATs' own counters in the lab"],
  ['miniupnpd', 'miniupnpd-nftables', 'routers of the lab that map ports on request (UPnP, NAT-PMP, PCP)'],
  ['turnutils_natdiscovery', 'coturn', "the comparison of `peer nat` with coturn's opinion"],
  ['cc', 'gcc libc6-dev', 'emulated delay and loss in the lab'],
  ['openssl', 'openssl', 'tests of TLS with a certificate'],
  ['ssh', 'openssh-client', 'the test of ssh through a forward'],
  ['sshd', 'openssh-server', 'the test of ssh through a forward'],
  ['curl', 'curl', 'the test of curl through SOCKS5'],
  ['iperf3', 'iperf3', 'the test of iperf3 through a forward'],
  ['redis-server', 'redis-server', 'the test of redis through Unix sockets'],
  ['redis-cli', 'redis-tools', 'the test of redis through Unix sockets'],
  ['dnsmasq', 'dnsmasq-base', 'the test of a resolver through a forward and SOCKS5'],
];

/** Half a gigabyte, and a minute to unpack: too much for every run. */
const LARGE_CLIENTS = [
  [
    'chromium-headless-shell',
    'chromium-headless-shell',
    'the test of a browser through a forward and SOCKS5',
  ],
  ['psql', 'postgresql postgresql-client', 'the test of psql through a forward'],
];

export function bootstrap({ system = false, clients = false, build = false, bench = false } = {}) {
  requireNode();
  installPackages(root);
  if (system) installSystemPackages(SYSTEM);
  if (clients) installSystemPackages(LARGE_CLIENTS);
  if (build) compile();
  if (bench) installPackages(join(root, 'scripts/bench/peers'));
}

/** Runs a command to its end; its output is shown only when it fails. */
function run(command, args, { cwd = root, what }) {
  say(what);
  const result = spawnSync(command, args, { cwd, encoding: 'utf8', env: process.env });
  if (result.status === 0) return true;
  process.stderr.write(`${result.stdout ?? ''}${result.stderr ?? ''}`);
  say(`${command} ${args.join(' ')} failed${result.error ? `: ${result.error.message}` : ''}`);
  return false;
}

function say(text) {
  process.stderr.write(`• ${text}\n`);
}

function requireNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > 20 || (major === 20 && minor >= 19)) return;
  say(`Node ${process.versions.node} is too old: 20.19 or newer is needed`);
  process.exit(2);
}

function installPackages(folder) {
  const lock = join(folder, 'package-lock.json');
  const installed = join(folder, 'node_modules/.package-lock.json');
  if (existsSync(installed) && statSync(installed).mtimeMs >= statSync(lock).mtimeMs) return;
  const args = ['ci', '--no-audit', '--no-fund', '--loglevel=error'];
  if (!run('npm', args, { cwd: folder, what: 'installing node packages (npm ci)' })) process.exit(1);
}

function missing(programs) {
  return programs.filter(([command]) => !onPath(command));
}

function onPath(command) {
  const folders = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin'];
  return folders.some((folder) => folder !== '' && existsSync(join(folder, command)));
}

function installSystemPackages(programs) {
  if (missing(programs).length === 0) return;
  if (process.getuid?.() === 0 && onPath('apt-get')) {
    const packages = missing(programs).flatMap(([, names]) => names.split(' '));
    const env = ['DEBIAN_FRONTEND=noninteractive', 'apt-get'];
    run('env', [...env, 'update', '-q'], { what: 'reading the lists of Debian packages' });
    const install = [...env, 'install', '-q', '-y', '--no-install-recommends', ...packages];
    run('env', install, { what: `installing ${packages.join(', ')}` });
  }
  for (const [command, names, effect] of missing(programs)) {
    say(`${command} is missing (Debian package ${names}); left out without it: ${effect}`);
  }
}

function compile() {
  const sources = ['src', 'peer', 'rendezvous', 'relay'].map((folder) => join(root, folder));
  const built = join(root, 'dist/.built');
  if (existsSync(built) && statSync(built).mtimeMs > Math.max(...sources.map(newest))) return;
  if (!run(process.execPath, ['scripts/build.mjs'], { what: 'compiling' })) process.exit(1);
}

function newest(folder) {
  const entries = readdirSync(folder, { withFileTypes: true });
  return Math.max(
    0,
    ...entries.map((entry) => {
      const path = join(folder, entry.name);
      return entry.isDirectory() ? newest(path) : statSync(path).mtimeMs;
    }),
  );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const asked = (name) => process.argv.includes(`--${name}`);
  const [system, clients, build, bench] = ['system', 'clients', 'build', 'bench'].map(asked);
  bootstrap({ system, clients, build, bench });
}
