import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readlink } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { SallyportError } from '../../src/core/errors.ts';
import { Lab, labSupport, parseNatName, type LabHost, type LabOptions } from './lab.ts';

const support = await labSupport();
if (!support.ok) console.log(`skipped, the lab: ${support.reason}`);

async function withLab(options: LabOptions, use: (lab: Lab) => Promise<void>): Promise<void> {
  const lab = await Lab.create(options);
  try {
    await use(lab);
  } finally {
    await lab.close();
  }
}

const UDP_ECHO = `
const socket = require('dgram').createSocket('udp4');
socket.on('message', (bytes, { port, address }) => socket.send(bytes, port, address));
socket.bind(4000, () => console.log('ready'));
`;

/** Sends `count` datagrams 5 ms apart and prints the round trips of those that came back, in that order. */
const UDP_PINGS = `
const socket = require('dgram').createSocket('udp4');
const [address, count, patience] = process.argv.slice(1);
const sent = [], answers = [];
socket.on('message', (bytes) => {
  const number = bytes.readUInt32BE();
  answers.push({ number, ms: performance.now() - sent[number] });
});
let next = 0;
const timer = setInterval(() => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(next);
  sent[next++] = performance.now();
  socket.send(bytes, 4000, address);
  if (next < count) return;
  clearInterval(timer);
  setTimeout(() => { console.log(JSON.stringify(answers)); process.exit(); }, patience);
}, 5);
`;

/** Sends one datagram: local port, remote port, address, time to live. */
const UDP_SEND = `
const [local, remote, address, ttl] = process.argv.slice(1);
const socket = require('dgram').createSocket('udp4').bind(Number(local), () => {
  socket.setTTL(Number(ttl));
  socket.send('primer', Number(remote), address, () => socket.close());
});
`;

interface Answer {
  number: number;
  ms: number;
}

async function startEcho(host: LabHost): Promise<void> {
  const echo = host.spawn('node', ['-e', UDP_ECHO]);
  if (echo.stdout) await once(echo.stdout, 'data');
}

async function pings(from: LabHost, address: string, count: number): Promise<Answer[]> {
  const { stdout } = await from.exec('node', ['-e', UDP_PINGS, address, String(count), '500']);
  return JSON.parse(stdout) as Answer[];
}

function median(answers: readonly Answer[]): number {
  const sorted = answers.map(({ ms }) => ms).toSorted((one, other) => one - other);
  return sorted[sorted.length >> 1] ?? Number.NaN;
}

describe.skipIf(!support.ok)('a wire of the lab', () => {
  it('delays each link by its one-way delay: twice to a server and back, four times to the other host', async () => {
    await withLab({ a: 'ei/apd', b: 'open', delayMs: 15 }, async (lab) => {
      await startEcho(lab.hosts.rendezvous);
      await startEcho(lab.hosts.b);
      const toServer = await pings(lab.hosts.a, lab.addresses.rendezvous[0], 40);
      const toHost = await pings(lab.hosts.a, lab.addresses.b.public, 40);
      expect(toServer).toHaveLength(40);
      expect(Math.min(...toServer.map(({ ms }) => ms))).toBeGreaterThanOrEqual(29.9);
      expect(Math.min(...toServer.map(({ ms }) => ms))).toBeLessThan(33);
      expect(Math.min(...toHost.map(({ ms }) => ms))).toBeGreaterThanOrEqual(59.9);
      expect(Math.min(...toHost.map(({ ms }) => ms))).toBeLessThan(64);
    });
  });

  it('keeps the order under jitter, and breaks it where asked to reorder', async () => {
    await withLab({ a: 'open', b: 'open', delayMs: 20, jitterMs: 10 }, async (lab) => {
      await startEcho(lab.hosts.rendezvous);
      const inOrder = (answers: Answer[]) => answers.every(({ number }, index) => number === index);
      expect(inOrder(await pings(lab.hosts.a, lab.addresses.rendezvous[0], 100))).toBe(true);
      await lab.setLink('a', { reorderPercent: 20 });
      expect(inOrder(await pings(lab.hosts.a, lab.addresses.rendezvous[0], 100))).toBe(false);
    });
  });

  it('loses the same packets again under the same seed', async () => {
    const survivors = async (seed: number): Promise<number[]> => {
      const lab = await Lab.create({ a: 'open', b: 'open', lossPercent: 20, seed });
      try {
        await startEcho(lab.hosts.rendezvous);
        return (await pings(lab.hosts.a, lab.addresses.rendezvous[0], 200)).map(({ number }) => number);
      } finally {
        await lab.close();
      }
    };
    const [first, again, other] = [await survivors(7), await survivors(7), await survivors(8)];
    // 0.8 × 0.8 of 200 come back: 128 ± 6.8; five deviations each way.
    expect(first.length).toBeGreaterThan(94);
    expect(first.length).toBeLessThan(162);
    expect(again).toEqual(first);
    expect(other).not.toEqual(first);
  });

  it('lets frames leave at its rate, and drops those that its queue has no room for', async () => {
    // A frame has 46 bytes: 20 ms each at this rate, and one comes every 5 ms.
    const settings = { rateMbit: 0.0184, queueKib: (4 * 46) / 1024 };
    await withLab({ a: 'open', b: 'open', ...settings }, async (lab) => {
      await startEcho(lab.hosts.rendezvous);
      const answers = await pings(lab.hosts.a, lab.addresses.rendezvous[0], 200);
      expect(answers.length).toBeGreaterThan(40);
      expect(answers.length).toBeLessThan(150);
      expect(median(answers)).toBeGreaterThan(60);
      expect(median(answers)).toBeLessThan(250);
    });
  });

  it('takes a new delay while it runs', async () => {
    await withLab({ a: 'open', b: 'open', delayMs: 0 }, async (lab) => {
      await startEcho(lab.hosts.rendezvous);
      expect(median(await pings(lab.hosts.a, lab.addresses.rendezvous[0], 20))).toBeLessThan(20);
      await lab.setLink('a', { delayMs: 50 });
      expect(median(await pings(lab.hosts.a, lab.addresses.rendezvous[0], 20))).toBeGreaterThanOrEqual(99.9);
    });
  });
});

describe.skipIf(!support.ok)('the lab', { concurrent: true }, () => {
  it('cuts one group of remotes silently and restores it', async () => {
    await withLab({ a: 'ei/ei', b: 'open' }, async (lab) => {
      await startEcho(lab.hosts.b);
      await startEcho(lab.hosts.rendezvous);
      const reach = async (address: string) => (await pings(lab.hosts.a, address, 3)).length === 3;
      const both = async () => [
        await reach(lab.addresses.b.public),
        await reach(lab.addresses.rendezvous[0]),
      ];
      expect(await both()).toEqual([true, true]);
      await lab.cut('direct');
      expect(await both()).toEqual([false, true]);
      await lab.restore('direct');
      expect(await both()).toEqual([true, true]);
      await lab.cut('rendezvous');
      expect(await both()).toEqual([true, false]);
    });
  });

  it('counts what each NAT lets through, by remote, protocol and direction', async () => {
    await withLab({ a: 'ei/apd', b: 'open' }, async (lab) => {
      await startEcho(lab.hosts.b);
      await pings(lab.hosts.a, lab.addresses.b.public, 10);
      // A datagram of 4 bytes is 32 bytes with its UDP and IP headers.
      const ten = { packets: 10, bytes: 320 };
      const [a, b] = [await lab.natCounters('a'), await lab.natCounters('b')];
      expect(a.direct.udp).toEqual({ sent: ten, received: ten });
      expect(b.direct.udp).toEqual({ sent: ten, received: ten });
      expect(a.rendezvous.udp.sent.packets).toBe(0);
    });
  });

  it.each([
    { ttl: 3, arrives: 1, fate: 'dies before the other NAT, which keeps the port of its own flow' },
    { ttl: 64, arrives: 0, fate: 'is a stray there, which takes the port away' },
  ])('lets out a primer that, at TTL $ttl, $fate', async ({ ttl, arrives }) => {
    await withLab({ a: 'ei/apd', b: 'ei/apd+accept' }, async (lab) => {
      const { a, b } = lab.addresses;
      await lab.hosts.a.exec('node', ['-e', UDP_SEND, '5000', '6000', b.public, String(ttl)]);
      await lab.hosts.b.exec('node', ['-e', UDP_SEND, '6000', '5000', a.public, '64']);
      const { sent, received } = (await lab.natCounters('a')).direct.udp;
      expect([sent.packets, received.packets]).toEqual([1, arrives]);
    });
  });

  it('forgets mappings like a NAT that restarts', async () => {
    await withLab({ a: 'ei/ei', b: 'open' }, async (lab) => {
      await startEcho(lab.hosts.rendezvous);
      await pings(lab.hosts.a, lab.addresses.rendezvous[0], 1);
      expect(await lab.natFlows('a')).toHaveLength(1);
      await lab.forgetMappings('a');
      expect(await lab.natFlows('a')).toHaveLength(0);
    });
  });

  it('runs beside others of the same addresses', async () => {
    const labs = await Promise.all([1, 2, 3].map(() => Lab.create({ a: 'ei/apd', b: 'ei/apd' })));
    await Promise.all(labs.map((lab) => startEcho(lab.hosts.relay)));
    const answers = await Promise.all(labs.map((lab) => pings(lab.hosts.a, lab.addresses.relay, 3)));
    expect(answers.map((each) => each.length)).toEqual([3, 3, 3]);
    await Promise.all(labs.map((lab) => lab.close()));
  });

  it('kills what it still runs when closed', async () => {
    const lab = await Lab.create({ a: 'open', b: 'open' });
    // A grandchild that ignores its parent's end and SIGTERM.
    const shell = lab.hosts.a.spawn('sh', ['-c', 'trap "" TERM; (sleep 600) & echo started; wait']);
    if (shell.stdout) await once(shell.stdout, 'data');
    const namespace = await readlink(`/proc/${shell.pid}/ns/net`);
    await lab.close();
    expect(await remaining([namespace])).toEqual([]);
  });

  it.each(['SIGINT', 'SIGKILL'] as const)(
    'leaves nothing behind when its own process ends by %s',
    async (signal) => {
      const script = fileURLToPath(new URL('probe/idle.ts', import.meta.url));
      const loader = fileURLToPath(new URL('../../scripts/ts.mjs', import.meta.url));
      const owner = spawn('node', ['--import', loader, script], { stdio: ['ignore', 'pipe', 'inherit'] });
      const [line] = (await once(createInterface({ input: owner.stdout }), 'line')) as [string];
      const namespaces = await Promise.all(line.split(' ').map((pid) => readlink(`/proc/${pid}/ns/net`)));
      owner.kill(signal);
      await once(owner, 'exit');
      expect(await remaining(namespaces)).toEqual([]);
    },
  );

  it('refuses a name that no NAT has, and a shared NAT on one side only', async () => {
    expect(() => parseNatName('ei/apd+maybe')).toThrow(SallyportError);
    expect(() => parseNatName('cone')).toThrow(/no NAT is named cone/);
    expect(parseNatName('ei/apd+rst')).toBe('ei/apd+rst');
    await expect(Lab.create({ a: 'same-lan', b: 'open' })).rejects.toMatchObject({ code: 'USAGE' });
  });
});

/** The processes that stay in those namespaces; what was killed takes a moment to go. */
async function remaining(namespaces: readonly string[]): Promise<string[]> {
  let found = await inhabitants(namespaces);
  for (let attempt = 0; found.length > 0 && attempt < 200; attempt++) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    found = await inhabitants(namespaces);
  }
  return found;
}

async function inhabitants(namespaces: readonly string[]): Promise<string[]> {
  const processes = (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry));
  const links = await Promise.all(processes.map((pid) => readlink(`/proc/${pid}/ns/net`).catch(() => '')));
  return processes.filter((_, index) => namespaces.includes(links[index] ?? ''));
}
