/**
 * Measures the NAT that it runs behind, against `reflect.ts`, by plain sockets; prints a `Measurement` as JSON.
 *
 *   measure.ts FIRST SECOND PROXY — two addresses of one reflector, and the proxy's
 */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer, type Socket as TcpSocket } from 'node:net';
import { createInterface } from 'node:readline';

export interface Measurement {
  udp: Measured | 'blocked';
  tcp: Measured | 'blocked';
  /** Whether TCP connections to port 443, and to the proxy, come about. */
  tcp443: boolean;
  proxy: boolean;
}

interface Measured {
  mapping: string;
  filtering: string;
  allocation: string;
  /** What strays meet: `drop`, or `rst` and `icmp`. */
  strays: string;
  /** Several public addresses were seen. */
  pool: boolean;
}

interface Mapped {
  localPort: number;
  address: string;
  port: number;
  result?: string;
}

const PATIENCE_MS = 400;
/** No host of the lab sends from it. */
const UNUSED_PORT = 9;
const [first = '', second = '', proxy = ''] = process.argv.slice(2);
/** The order matters: the same address and another port, then another address. */
const DESTINATIONS: [string, number][] = [
  [first, 7000],
  [first, 7001],
  [second, 7000],
];

function behaviorOf(mapped: readonly Mapped[], localAddress: string): string {
  const [one, two, three] = mapped.map(({ address, port }) => `${address}:${port}`);
  if (one === two && two === three)
    return mapped[0]?.address === localAddress ? 'none' : 'endpoint-independent';
  return one === two ? 'address-dependent' : 'address-and-port-dependent';
}

function isPool(mapped: readonly Mapped[]): boolean {
  return new Set(mapped.map(({ address }) => address)).size > 1;
}

function allocationOf(mapped: readonly Mapped[]): string {
  if (mapped.every(({ localPort, port }) => localPort === port)) return 'preserving';
  const steps = mapped.slice(1).map(({ port }, index) => port - (mapped[index]?.port ?? 0));
  return steps.every((step) => step === 1) ? 'sequential' : 'random';
}

function filteringOf(otherPort: boolean, otherAddress: boolean, mapping: string): string {
  if (otherAddress) return mapping === 'none' ? 'none' : 'endpoint-independent';
  return otherPort ? 'address-dependent' : 'address-and-port-dependent';
}

async function udpSocket(): Promise<Socket> {
  const socket = createSocket('udp4').bind(0);
  await once(socket, 'listening');
  return socket;
}

let requests = 0;

/** Asks one reflector for an answer from `[addressIndex, port]`; undefined where none comes. */
function ask(
  socket: Socket,
  to: [string, number],
  from: [number, number],
  request: { knock?: number } = {},
): Promise<Mapped | undefined> {
  const id = ++requests;
  return new Promise((resolve) => {
    const finish = (mapped?: Mapped) => {
      clearTimeout(timer);
      socket.off('message', onMessage);
      resolve(mapped);
    };
    const onMessage = (bytes: Buffer) => {
      const answer = JSON.parse(bytes.toString()) as { id: number; address: string; port: number };
      if (answer.id === id) finish({ ...answer, localPort: socket.address().port });
    };
    const timer = setTimeout(finish, request.knock === undefined ? PATIENCE_MS : 2 * PATIENCE_MS);
    socket.on('message', onMessage);
    socket.send(JSON.stringify({ id, from, ...request }), to[1], to[0]);
  });
}

async function measureUdp(localAddress: string): Promise<Measured | 'blocked'> {
  const sockets = await Promise.all(Array.from({ length: 4 }, udpSocket));
  const [one] = sockets;
  if (one === undefined) throw new Error('no socket');
  const mapped: Mapped[] = [];
  for (const to of DESTINATIONS) {
    const answer = await ask(one, to, [to[0] === first ? 0 : 1, to[1]]);
    if (answer) mapped.push(answer);
  }
  if (mapped.length < DESTINATIONS.length) {
    sockets.forEach((socket) => socket.close());
    return 'blocked';
  }
  const fresh: Mapped[] = [];
  for (const socket of sockets.slice(1))
    fresh.push((await ask(socket, [first, 7000], [0, 7000])) ?? fail('udp'));
  const last = sockets.at(-1) ?? fail('udp');
  const otherPort = await ask(last, [first, 7000], [0, 7001]);
  const otherAddress = await ask(last, [first, 7000], [1, 7000]);
  const knock = await ask(last, [second, 7000], [1, 7000], { knock: UNUSED_PORT });
  sockets.forEach((socket) => socket.close());
  const mapping = behaviorOf(mapped, localAddress);
  const filtering = filteringOf(otherPort !== undefined, otherAddress !== undefined, mapping);
  const strays = knock?.result === 'refused' ? 'icmp' : 'drop';
  return { mapping, filtering, allocation: allocationOf(fresh), strays, pool: isPool([...mapped, ...fresh]) };
}

function fail(what: string): never {
  throw new Error(`${what} answered once, and then no more`);
}

/** A connection to a reflector, with its greeting read; undefined where none comes about. */
class Connection {
  readonly socket: TcpSocket;
  readonly mapped: Mapped;
  readonly #lines: AsyncIterator<string>;

  constructor(socket: TcpSocket, mapped: Mapped, lines: AsyncIterator<string>) {
    this.socket = socket;
    this.mapped = mapped;
    this.#lines = lines;
  }

  static async open(host: string, port: number, localPort = 0): Promise<Connection | undefined> {
    // An explicit local address makes Node set SO_REUSEADDR, so that one port serves several connections.
    const socket = connect({ host, port, localPort, localAddress: '0.0.0.0' });
    const timer = setTimeout(() => socket.destroy(new Error('silence')), PATIENCE_MS);
    try {
      await once(socket, 'connect');
    } catch {
      return undefined;
    } finally {
      clearTimeout(timer);
    }
    const lines = createInterface({ input: socket })[Symbol.asyncIterator]();
    const greeting = JSON.parse((await lines.next()).value as string) as { address: string; port: number };
    return new Connection(socket, { ...greeting, localPort: socket.localPort ?? 0 }, lines);
  }

  /** Has the reflector dial a port of this host's public address. */
  async dialBack(from: number, port: number): Promise<string> {
    this.socket.write(`${JSON.stringify({ from, port })}\n`);
    return (JSON.parse((await this.#lines.next()).value as string) as { result: string }).result;
  }
}

async function measureTcp(localAddress: string): Promise<Measured | 'blocked'> {
  const control = await Connection.open(...(DESTINATIONS[0] as [string, number]));
  if (control === undefined) return 'blocked';
  const localPort = control.mapped.localPort;
  const open = [control];
  for (const [host, port] of DESTINATIONS.slice(1)) {
    open.push((await Connection.open(host, port, localPort)) ?? fail('tcp'));
  }
  const mapping = behaviorOf(
    open.map(({ mapped }) => mapped),
    localAddress,
  );
  const fresh: Connection[] = [];
  for (let count = 0; count < 3; count++) fresh.push((await Connection.open(first, 7000)) ?? fail('tcp'));
  const contact = fresh[0] ?? fail('tcp');
  const listener = createServer((socket) => socket.destroy()).listen(contact.mapped.localPort, '0.0.0.0');
  await once(listener, 'listening');
  const otherPort = (await contact.dialBack(0, contact.mapped.port)) === 'connected';
  const otherAddress = (await contact.dialBack(1, contact.mapped.port)) === 'connected';
  const strays = (await contact.dialBack(1, UNUSED_PORT)) === 'refused' ? 'rst' : 'drop';
  listener.close();
  [...open, ...fresh].forEach(({ socket }) => socket.destroy());
  const seen = [...open, ...fresh].map(({ mapped }) => mapped);
  const allocation = allocationOf(seen.slice(open.length));
  const filtering = filteringOf(otherPort, otherAddress, mapping);
  return { mapping, filtering, allocation, strays, pool: isPool(seen) };
}

async function reaches(host: string, port: number): Promise<boolean> {
  const connection = await Connection.open(host, port);
  connection?.socket.destroy();
  return connection !== undefined;
}

/** The address that this host sends from. */
async function ownAddress(): Promise<string> {
  const socket = createSocket('udp4');
  socket.connect(7000, first);
  await once(socket, 'connect');
  const { address } = socket.address();
  socket.close();
  return address;
}

const localAddress = await ownAddress();
const measurement: Measurement = {
  udp: await measureUdp(localAddress),
  tcp: await measureTcp(localAddress),
  tcp443: await reaches(first, 443),
  proxy: await reaches(proxy, 3128),
};
console.log(JSON.stringify(measurement));
