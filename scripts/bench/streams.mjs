/**
 * Many streams on one session by TCP, against one stream of it: `streams.mjs <seconds>`. The peers are a process each; the
 * receiving one is this program once more. Prints one JSON object with figures.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { tune } from '../../dist/src/cli/once-up.js';
import { Peer, Rendezvous } from '../../dist/src/index.js';
import { TemporaryFolder } from '../../test/netns/temporary-folder.mjs';

tune(); // as the commands do

const home = new TemporaryFolder('bench').path;

const CHUNK = Buffer.alloc(64 * 1024, 0x5a);
const WARM_UP_SECONDS = 2;
const STOPPED = Buffer.from('stop');
const STOPPED_ROUNDS = 5;
const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

if (process.send) await receive();
else await compare(Number(process.argv[2] ?? 3));

/** Counts what each stream brings; the parent asks for the counts. A stream that begins with `stop` is not read on. */
async function receive() {
  const counts = [];
  process.on('disconnect', () => process.exit());
  process.on('message', ({ rendezvous, from }) => {
    if (rendezvous === undefined) process.send({ counts: counts.slice(from) });
    else void listen(rendezvous);
  });

  async function listen(rendezvous) {
    const peer = await Peer.start({ home, rendezvous, allow: ['any'] });
    peer.handle('bench', count);
    process.send({ id: peer.id });
  }

  function count(stream) {
    stream.on('error', () => {}); // the other end leaves when it has seen enough
    const index = counts.push(0) - 1;
    stream.on('data', (bytes) => {
      counts[index] += bytes.length;
      if (counts[index] <= bytes.length && bytes.subarray(0, 4).equals(STOPPED)) stream.pause();
    });
  }
}

async function compare(seconds) {
  const receiver = fork(fileURLToPath(import.meta.url));
  const ask = async (question) => {
    receiver.send(question);
    return (await once(receiver, 'message'))[0];
  };
  const { url } = await Rendezvous.start({ listen: '127.0.0.1:0', insecure: true, open: true, home });
  const { id } = await ask({ rendezvous: url });
  const peer = await Peer.start({ home, rendezvous: url });
  const session = await peer.connect(id, { paths: ['tcp'] });
  const open = (count) => Promise.all(Array.from({ length: count }, () => session.open('bench')));
  let opened = 0;
  const rates = async (streams, began = () => {}) => {
    const from = opened;
    opened += streams.length;
    let going = true;
    for (const stream of streams) void flood(stream, () => going);
    await pause(WARM_UP_SECONDS);
    began();
    const before = (await ask({ from })).counts;
    const start = performance.now();
    await pause(seconds);
    const after = (await ask({ from })).counts;
    const took = (performance.now() - start) / 1000;
    going = false;
    await pause(1);
    for (const stream of streams) stream.destroy();
    return streams.map((_, index) => ((after[index] ?? 0) - (before[index] ?? 0)) / took);
  };

  const figures = [];
  const one = sum(await rates(await open(1)));
  for (const count of [100, 1000]) {
    const each = await rates(await open(count));
    const name = `${count} streams`;
    figures.push({ name: `${name}, together, of one alone`, value: sum(each) / one, atLeast: 0.8 });
    figures.push({
      name: `${name}, slowest of the mean`,
      value: Math.min(...each) / (sum(each) / count),
      atLeast: 0.5,
    });
  }
  // One after the other, again and again, so that whatever else the machine does meanwhile befalls both alike.
  const shares = [];
  const growth = [];
  for (let round = 0; round < STOPPED_ROUNDS; round += 1) {
    const all = await rates(await open(100));
    const streams = await open(100);
    streams[0].write(STOPPED);
    const memory = { before: 0, most: 0 };
    const watch = setInterval(() => (memory.most = Math.max(memory.most, residentMiB())), 100);
    const beside = await rates(streams, () => (memory.before = memory.most = residentMiB()));
    clearInterval(watch);
    shares.push(sum(beside.slice(1)) / sum(all.slice(1)));
    growth.push(memory.most - memory.before);
  }
  figures.push({ name: '99 beside a stopped reader, of 99 of 100', value: median(shares), atLeast: 0.9 });
  figures.push({ name: 'sender grows meanwhile, MiB', value: median(growth), atMost: 32 });
  process.stdout.write(`${JSON.stringify({ oneGbit: (one * 8) / 1e9, figures })}\n`);
  receiver.disconnect();
  process.exit();
}

async function flood(stream, going) {
  let wake = () => {};
  stream.on('error', () => {});
  stream.on('drain', () => wake()).on('close', () => wake());
  while (going() && !stream.destroyed) {
    if (!stream.write(CHUNK)) await new Promise((resolve) => (wake = resolve));
  }
}

function median(values) {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}

function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}

function residentMiB() {
  return process.memoryUsage.rss() / 1024 ** 2;
}
