// Sends numbered datagrams 5 ms apart to a port of 127.0.0.1 that echoes them: node udp-ask.mjs port count, prints
// {"returned":…,"twice":…,"median":…}: how many came back, how many of them again, the median round trip in milliseconds.
import { createSocket } from 'node:dgram';

const [port, count] = process.argv.slice(2).map(Number);
const sentAt = [];
const trips = new Map();
let twice = 0;
const socket = createSocket('udp4', (bytes) => {
  const number = bytes.readUInt32BE(0);
  if (trips.has(number)) twice += 1;
  else trips.set(number, performance.now() - sentAt[number]);
});
const bytes = Buffer.alloc(200);
for (let number = 0; number < count; number += 1) {
  sentAt.push(performance.now());
  bytes.writeUInt32BE(number);
  socket.send(Buffer.from(bytes), port, '127.0.0.1');
  await new Promise((resolve) => setTimeout(resolve, 5));
}
for (let silent = 0, before = 0; silent < 5_000 && trips.size < count; silent += 100) {
  if (trips.size > before) silent = 0;
  before = trips.size;
  await new Promise((resolve) => setTimeout(resolve, 100));
}
await new Promise((resolve) => setTimeout(resolve, 200)); // some might come again
const sorted = [...trips.values()].sort((a, b) => a - b);
const median = Math.round(sorted[Math.floor(sorted.length / 2)]);
process.stdout.write(`${JSON.stringify({ returned: trips.size, twice, median })}\n`);
socket.close();
