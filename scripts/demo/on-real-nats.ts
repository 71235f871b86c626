import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { CommandEvent, RunningCommand } from '../../test/e2e/commands.ts';
import { Scenario } from '../../test/netns/scenario.ts';
import type { Narrator } from './narrator.ts';

const programs = fileURLToPath(new URL('../../test/netns/programs', import.meta.url));
const LARGE_BYTES = 192 * 1024 * 1024;
const DELAY_MS = 20;
/** On bob's own loopback, in a namespace where nothing else is. */
const WEB_PORT = 8081;

interface NatReport {
  readonly udp: {
    readonly type: string;
    readonly mapping: string;
    readonly filtering: string;
    readonly public: readonly string[];
  };
  readonly tcp: { readonly type: string };
}

interface FetchLine {
  readonly status?: number;
  readonly bytes?: number;
  readonly done?: boolean;
  readonly sha256?: string;
  readonly text?: string;
  readonly longestPauseMs?: number;
  readonly error?: string;
}

/** Two LANs in network namespaces, the kernel's own NATs in front of them, and every command a real one. */
export async function tellOnRealNats(narrator: Narrator): Promise<void> {
  narrator.chapter('Two houses, two NATs, and a public server between them');
  const expose = [`web=127.0.0.1:${WEB_PORT}`];
  const scenario = await Scenario.start({
    a: 'ei/apd',
    b: 'ei/apd',
    delayMs: DELAY_MS,
    relay: 'separate',
    expose,
  });
  try {
    await tell(scenario, narrator);
  } finally {
    await scenario.close();
  }
}

async function tell(scenario: Scenario, narrator: Narrator): Promise<void> {
  const { a, b } = scenario.lab.addresses;
  narrator.draw([
    `alice ${a.lan} ── NAT ${a.public} ──╮`,
    `                                          ├── rendezvous ${scenario.lab.addresses.rendezvous[0]}, relay ${scenario.lab.addresses.relay}`,
    `bob   ${b.lan} ── NAT ${b.public} ──╯`,
  ]);
  narrator.say(
    `every link takes ${DELAY_MS} ms one way; the NATs are this kernel's own, in namespaces of their own`,
  );
  narrator.say(`the rendezvous listens at ${scenario.url}`, { url: scenario.url }, 'good');
  narrator.say(
    `bob runs \`peer up\` and is registered as ${scenario.id.slice(0, 12)}…`,
    { id: scenario.id },
    'good',
  );

  narrator.chapter('What do their NATs do?  (peer nat)');
  await Promise.all([diagnose(scenario, narrator, 'a', 'alice'), diagnose(scenario, narrator, 'b', 'bob')]);

  narrator.chapter('They meet  (peer connect)');
  await scenario.program('b', 'web.mjs', String(WEB_PORT), String(LARGE_BYTES));
  const connect = scenario.connect('-L', '8080:web', '--explain');
  const session = await connect.event('session');
  narrator.say('bob answered; both now share keys that the rendezvous never saw', {
    session: session['session'],
  });
  await tellPaths(connect, session, narrator);

  narrator.chapter('Alice opens the page that bob serves to himself  (-L 8080:web)');
  const { listen } = await connect.event('forward');
  const page = await fetch(scenario, `http://${String(listen)}/`);
  narrator.check(
    page.last.text?.includes('You reached it') === true,
    `http://${String(listen)}/ says: ${page.last.text?.replace(/<[^>]*>/g, ' ').trim()}`,
  );

  narrator.chapter('A large file, and the relay dies in the middle of it  (kill -9)');
  const expected = (await fetch(scenario, `http://${String(listen)}/sum`)).last.text;
  const before = await scenario.lab.natCounters('a');
  let killed = false;
  const large = await fetch(scenario, `http://${String(listen)}/large`, (bytes) => {
    if (killed || bytes < LARGE_BYTES / 4) return;
    killed = true;
    scenario.relays[0]?.child.kill('SIGKILL');
    narrator.say(`${mib(bytes)} MiB are here; the relay is killed now`, { bytes });
  });
  const after = await scenario.lab.natCounters('a');
  const counted = {
    udp: after.direct.udp.received.bytes - before.direct.udp.received.bytes,
    tcp: after.direct.tcp.received.bytes - before.direct.tcp.received.bytes,
  };
  narrator.check(
    killed && large.last.bytes === LARGE_BYTES,
    `${mib(large.last.bytes ?? 0)} MiB arrived, the longest pause was ${large.last.longestPauseMs} ms`,
    { bytes: large.last.bytes, longestPauseMs: large.last.longestPauseMs },
  );
  narrator.check(
    large.last.sha256 === expected,
    `SHA-256 is the same at both ends: ${expected?.slice(0, 16)}…`,
  );
  const direct = counted.tcp + counted.udp;
  narrator.check(
    direct >= LARGE_BYTES,
    `alice's NAT counted ${mib(counted.tcp)} MiB of TCP and ${mib(counted.udp)} MiB of UDP straight from bob's`,
    counted,
  );

  narrator.chapter('Summary');
  const { status } = await connect.stop('SIGINT');
  narrator.check(status === 0, 'alice stopped; the session was closed properly');
}

async function diagnose(
  scenario: Scenario,
  narrator: Narrator,
  host: 'a' | 'b',
  name: string,
): Promise<void> {
  const { stdout, stderr } = await scenario.peer(host, `${name}-nat`, 'nat').ended;
  if (stdout.length === 0) throw new Error(`peer nat said nothing for ${name}: ${stderr}`);
  const { udp, tcp } = JSON.parse(stdout.toString()) as NatReport;
  const text = `${name}: ${udp.type} (mapping ${udp.mapping}, filtering ${udp.filtering}), seen at ${udp.public.join(', ')}; TCP ${tcp.type}`;
  narrator.check(udp.mapping === 'endpoint-independent', text, { peer: name, udp, tcp });
}

async function tellPaths(connect: RunningCommand, session: CommandEvent, narrator: Narrator): Promise<void> {
  const isUp = (kind: string) => (event: CommandEvent) => event['kind'] === kind && event['state'] === 'up';
  const since = (event: CommandEvent) => event.ms - session.ms;
  const relay = await connect.event('path', ({ direct, state }) => direct === false && state === 'up');
  narrator.say(
    `${since(relay)} ms later the session runs, over the relay (${String(relay['kind'])}), encrypted from end to end`,
    { relayMs: since(relay) },
    'good',
  );
  for (const [kind, name] of [
    ['udp', 'UDP'],
    ['tcp', 'TCP'],
  ] as const) {
    const path = await Promise.race([connect.event('path', isUp(kind)), sleep(8_000)]);
    const text = path
      ? `${since(path)} ms: a direct path by ${name}, ${String(path['technique'])}, to ${String(path['remote'])}`
      : `no direct path by ${name}`;
    narrator.check(path !== undefined, text, {
      kind,
      ms: path && since(path),
      technique: path?.['technique'],
    });
  }
  const active = await connect.event('path', ({ direct, state }) => direct === true && state === 'active');
  narrator.say(
    `the session moved to ${String(active['kind'])} (${String(active['reason'])}); nobody who uses it noticed`,
    {},
    'good',
  );
}

async function fetch(
  scenario: Scenario,
  url: string,
  onBytes: (bytes: number) => void = () => {},
): Promise<{ last: FetchLine }> {
  const child = scenario.lab.hosts.a.spawn(process.execPath, [join(programs, 'fetch.mjs'), url]);
  let last: FetchLine = {};
  for await (const line of createInterface({ input: child.stdout! })) {
    last = JSON.parse(line) as FetchLine;
    if (last.error !== undefined) throw new Error(`${url}: ${last.error}`);
    onBytes(last.bytes ?? 0);
  }
  return { last };
}

function mib(bytes: number): number {
  return Math.round(bytes / 1024 / 1024);
}

async function sleep(ms: number): Promise<undefined> {
  await new Promise((resolve) => setTimeout(resolve, ms));
  return undefined;
}
