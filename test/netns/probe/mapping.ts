/**
 * How a NAT numbers mappings, and how long it keeps them, seen through `reflect.ts`.
 *
 *   mapping.ts SERVER PAUSE_MS AFTER_MS…
 *
 * One fresh UDP socket after another, PAUSE_MS apart, sends one datagram and waits for an answer that comes AFTER_MS
 * later. Prints an array, one element per socket: its public port, or null where no answer got in.
 */
import { createSocket } from 'node:dgram';

const [server = '', pause = '', ...delays] = process.argv.slice(2);
const GRACE_MS = 1_000;

function publicPort(afterMs: number): Promise<number | null> {
  const socket = createSocket('udp4');
  socket.send(JSON.stringify({ id: 0, from: [0, 7000], afterMs }), 7000, server);
  return new Promise((resolve) => {
    const finish = (port: number | null) => {
      clearTimeout(timer);
      socket.close();
      resolve(port);
    };
    const timer = setTimeout(finish, afterMs + GRACE_MS, null);
    socket.once('message', (bytes) => finish((JSON.parse(bytes.toString()) as { port: number }).port));
  });
}

const ports: Promise<number | null>[] = [];
for (const afterMs of delays) {
  if (ports.length > 0) await new Promise((resolve) => setTimeout(resolve, Number(pause)));
  ports.push(publicPort(Number(afterMs)));
}
console.log(JSON.stringify(await Promise.all(ports)));
