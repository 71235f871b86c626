/**
 * Public server for `measure.ts`: tells clients how it sees them, and answers or dials from where it is asked to.
 *
 *   reflect.ts ADDRESS… — UDP and TCP ports 7000 and 7001, TCP ports 443 and 3128, on every address; prints "ready"
 *
 * UDP: `{ id, from: [addressIndex, port] }` is answered from there with `{ id, address, port }`, the client as seen;
 * with `afterMs`, that much later; with `knock`, once a datagram from a fresh port to that port of the client's address
 * was refused or met with silence, with a `result` like below.
 * TCP: a connection is greeted with `{ address, port }`; each line `{ from: addressIndex, port }` makes the server dial
 * that port of the client's address, and is answered with `{ result: "connected" | "refused" | "silent" }`.
 */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, connect, type Socket as TcpSocket } from 'node:net';
import { createInterface } from 'node:readline';

interface UdpRequest {
  readonly id: number;
  readonly from: [number, number];
  readonly afterMs?: number;
  readonly knock?: number;
}

const SILENCE_MS = 400;
const addresses = process.argv.slice(2);
const sockets = new Map<string, Socket>();

async function reflectUdp(index: number, port: number): Promise<void> {
  const socket = createSocket('udp4');
  sockets.set(`${index}:${port}`, socket);
  socket.on('message', (bytes, { address, port }) => {
    const { id, from, afterMs = 0, knock } = JSON.parse(bytes.toString()) as UdpRequest;
    const answer = (result?: string) =>
      sockets.get(from.join(':'))?.send(JSON.stringify({ id, address, port, result }), port, address);
    if (knock === undefined) setTimeout(answer, afterMs);
    else knockAt(addresses[from[0]] ?? '', address, knock, answer);
  });
  socket.bind(port, addresses[index]);
  await once(socket, 'listening');
}

async function reflectTcp(index: number, port: number): Promise<void> {
  const server = createServer((socket) => {
    const address = socket.remoteAddress ?? '';
    socket.on('error', () => {});
    socket.write(`${JSON.stringify({ address, port: socket.remotePort })}\n`);
    createInterface({ input: socket }).on('line', (line) => {
      const request = JSON.parse(line) as { from: number; port: number };
      dial(addresses[request.from] ?? '', address, request.port, (result) => {
        socket.write(`${JSON.stringify({ result })}\n`);
      });
    });
  });
  server.listen(port, addresses[index]);
  await once(server, 'listening');
}

/** A connected socket is told of ICMP port unreachable. */
function knockAt(localAddress: string, host: string, port: number, done: (result: string) => void): void {
  const socket = createSocket('udp4').bind(0, localAddress, () => {
    socket.connect(port, host, () => socket.send('knock'));
  });
  const finish = (result: string) => {
    clearTimeout(timer);
    socket.removeAllListeners('error').close();
    done(result);
  };
  const timer = setTimeout(() => finish('silent'), SILENCE_MS);
  socket.once('error', () => finish('refused'));
}

function dial(localAddress: string, host: string, port: number, done: (result: string) => void): TcpSocket {
  const socket = connect({ localAddress, host, port });
  const finish = (result: string) => {
    clearTimeout(timer);
    socket
      .removeAllListeners()
      .on('error', () => {})
      .destroy();
    done(result);
  };
  const timer = setTimeout(() => finish('silent'), SILENCE_MS);
  socket.once('connect', () => finish('connected')).once('error', () => finish('refused'));
  return socket;
}

for (const index of addresses.keys()) {
  for (const port of [7000, 7001]) await reflectUdp(index, port);
  for (const port of [443, 3128, 7000, 7001]) await reflectTcp(index, port);
}
console.log('ready');
