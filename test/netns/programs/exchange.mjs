// Sends and receives at once, each way the same number of bytes:
//   node exchange.mjs listen|dial host:port bytes seed
// Prints {"ready":true} when it listens or is connected, {"received":…,"sent":…} five times a second, and at the end
//   {"done":true,"sent":…,"received":…,"sentSha256":…,"receivedSha256":…,"pauses":[{"endedAt":…,"ms":…}]}
// where a pause is a time without anything received, and `endedAt` is milliseconds of the machine's clock.
// Reads `pace <bytes per second>` from stdin; 0, as at first, is as fast as it goes.
import { createCipheriv, createHash } from 'node:crypto';
import { connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';

const [mode, address, size, seed] = process.argv.slice(2);
const [host, port] = address.split(':');
const bytes = Number(size);
const BLOCK_BYTES = 64 * 1024;
const PACED_BLOCK_BYTES = 8 * 1024;
const PAUSE_MS = 250;
let pace = 0;

const print = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
createInterface({ input: process.stdin }).on('line', (line) => (pace = Number(line.split(' ')[1])));

if (mode === 'listen') {
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    server.close();
    void exchange(socket);
  });
  server.listen(Number(port), host, () => print({ ready: true }));
} else {
  const socket = connect({ host, port: Number(port), allowHalfOpen: true, noDelay: true }, () => {
    print({ ready: true });
    void exchange(socket);
  });
  socket.on('error', fail);
}

async function exchange(socket) {
  socket.on('error', fail);
  const progress = setInterval(() => print({ received: received.bytes, sent: sent.bytes }), 200);
  const received = receive(socket);
  const sent = send(socket);
  await Promise.all([received.ended, sent.ended]);
  clearInterval(progress);
  print({
    done: true,
    sent: sent.bytes,
    received: received.bytes,
    sentSha256: sent.hash.digest('hex'),
    receivedSha256: received.hash.digest('hex'),
    pauses: received.pauses,
  });
  process.exit(0);
}

function receive(socket) {
  const state = { bytes: 0, hash: createHash('sha256'), pauses: [] };
  let lastAt = Date.now();
  socket.on('data', (chunk) => {
    const now = Date.now();
    if (now - lastAt >= PAUSE_MS) state.pauses.push({ endedAt: now, ms: now - lastAt });
    lastAt = now;
    state.bytes += chunk.length;
    state.hash.update(chunk);
  });
  state.ended = new Promise((resolve) => socket.once('end', resolve));
  return state;
}

function send(socket) {
  const key = createHash('sha256').update(seed).digest().subarray(0, 16);
  const noise = createCipheriv('aes-128-ctr', key, Buffer.alloc(16));
  const state = { bytes: 0, hash: createHash('sha256') };
  state.ended = (async () => {
    while (state.bytes < bytes) {
      const most = pace > 0 ? PACED_BLOCK_BYTES : BLOCK_BYTES;
      const block = noise.update(Buffer.alloc(Math.min(most, bytes - state.bytes)));
      state.bytes += block.length;
      state.hash.update(block);
      if (!socket.write(block)) await new Promise((resolve) => socket.once('drain', resolve));
      if (pace > 0) await new Promise((resolve) => setTimeout(resolve, (1000 * block.length) / pace));
    }
    socket.end();
  })();
  return state;
}

function fail(error) {
  print({ error: error.message });
  process.exit(1);
}
