import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { concat, utf8 } from '../../src/core/bytes.ts';
import { parseEndpoint, type Endpoint } from '../../src/core/endpoint.ts';
import { readDatagram, writeDatagram } from '../../src/core/socks.ts';
import type { Peer, SallyportError, Session, StreamRecord } from '../../src/index.ts';
import { parseExposure } from '../../peer/exposure.ts';
import { parsePermit } from '../../peer/listen-permit.ts';
import { DatagramFlows } from '../../peer/services/datagram-flows.ts';
import { parseDynamic, parseLocal, parseRemote } from '../../peer/services/forward-spec.ts';
import { startForwards, type ForwardSpecs, type RunningForward } from '../../peer/services/forwards.ts';
import { startUdpForward } from '../../peer/services/udp-forward.ts';
import type { SessionStream } from '../../src/net/session-stream.ts';
import { ManualClock } from './manual-clock.ts';
import { Meeting } from './meeting.ts';

let meeting: Meeting;
let alice: Peer;
let bob: Peer;
let session: Session;
let errors: SallyportError[];
let closers: (() => unknown)[];

beforeEach(async () => {
  [errors, closers] = [[], []];
  meeting = await Meeting.start();
  bob = await meeting.peer('bob', ['any']);
  alice = await meeting.peer('alice');
  session = await alice.connect(bob.id);
});

afterEach(async () => {
  for (const close of closers.toReversed()) await close();
  await meeting.close();
});

/** Starts forwards as `peer connect` does. */
async function start(specs: Partial<ForwardSpecs>): Promise<RunningForward[]> {
  const all = { local: [], remote: [], dynamic: [], ...specs };
  const forwards = await startForwards(
    all,
    session,
    () => {},
    (error) => errors.push(error),
  );
  closers.push(() => Promise.all(forwards.map((forward) => forward.close())));
  return forwards;
}

/** A TCP server that answers in capitals once the client has ended. */
async function capitals(): Promise<number> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    let got = '';
    socket.on('data', (chunk) => (got += chunk.toString()));
    socket.on('end', () => socket.end(got.toUpperCase()));
    socket.on('error', () => socket.destroy());
  });
  return listening(server);
}

async function listening(server: Server): Promise<number> {
  await once(server.listen(0, '127.0.0.1'), 'listening');
  closers.push(() => server.close());
  return (server.address() as AddressInfo).port;
}

async function say(words: string, { address, port }: Endpoint): Promise<string> {
  const client = connect({ host: address, port, allowHalfOpen: true });
  client.end(words);
  return text(client);
}

/** A UDP server that sends every datagram back, capitals, and says who asked. */
async function udpCapitals(): Promise<{ port: number; askers: Set<number> }> {
  const askers = new Set<number>();
  const server = await udp();
  server.on('message', (bytes, from) => {
    askers.add(from.port);
    server.send(bytes.toString().toUpperCase(), from.port, from.address);
  });
  return { port: server.address().port, askers };
}

async function udp(): Promise<UdpSocket> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  closers.push(() => socket.close());
  return socket;
}

async function ask(socket: UdpSocket, words: string, { address, port }: Endpoint): Promise<string> {
  socket.send(words, port, address);
  const [answer] = (await once(socket, 'message')) as [Buffer];
  return answer.toString();
}

/** A client that has said hello by SOCKS5 and sent a request; the reply's code and bound port. */
async function socks(
  { address, port }: Endpoint,
  command: number,
  to: Uint8Array,
): Promise<{ socket: Socket; code: number; bound: number }> {
  const socket = connect({ host: address, port, allowHalfOpen: true });
  socket.write(concat(Uint8Array.of(5, 1, 0, 5, command, 0), to));
  const got: Buffer[] = [];
  while (Buffer.concat(got).length < 12) {
    const [chunk] = (await once(socket, 'data')) as [Buffer];
    got.push(chunk);
  }
  socket.pause();
  closers.push(() => socket.destroy());
  const reply = Buffer.concat(got);
  expect([...reply.subarray(0, 3)]).toEqual([5, 0, 5]);
  return { socket, code: reply[3]!, bound: reply.readUInt16BE(10) };
}

function named(host: string, port: number): Uint8Array {
  return concat(Uint8Array.of(3, host.length), utf8(host), Uint8Array.of(port >> 8, port & 0xff));
}

function ipv4(port: number): Uint8Array {
  return Uint8Array.of(1, 127, 0, 0, 1, port >> 8, port & 0xff);
}

describe('-D', () => {
  it('reaches what is exposed by address and by name, the name as it is exposed, and says when something is not', async () => {
    const port = await capitals();
    bob.addExposure(parseExposure(`127.0.0.1:${port}`));
    bob.addExposure(parseExposure(`localhost:${port}`));
    bob.addExposure(parseExposure('no.such.name.invalid:80'));
    bob.addExposure(parseExposure('127.0.0.1:1'));
    const [forward] = await start({ dynamic: [parseDynamic('0')] });
    const at = parseEndpoint(forward!.listen);
    for (const to of [ipv4(port), named('localhost', port)]) {
      const { socket, code } = await socks(at, 1, to);
      expect(code).toBe(0);
      socket.end('hello');
      expect(await text(socket)).toBe('HELLO');
    }
    expect((await socks(at, 1, ipv4(2))).code).toBe(2); // not allowed
    expect((await socks(at, 1, ipv4(1))).code).toBe(5); // refused
    expect((await socks(at, 1, named('no.such.name.invalid', 80))).code).toBe(4); // unreachable
    expect((await socks(at, 2, ipv4(port))).code).toBe(7); // BIND
    expect((await socks(at, 1, Uint8Array.of(9, 0, 0, 0, 0, 0, 0))).code).toBe(8); // an unknown type of address
    expect(errors.map(({ code }) => code)).toEqual([
      'NOT_AUTHORIZED',
      'TARGET_REFUSED',
      'TARGET_UNREACHABLE',
    ]);
  });

  it('says which target broke off', async () => {
    const server = createServer((socket) => socket.once('data', () => socket.resetAndDestroy()));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    closers.push(() => server.close());
    const { port } = server.address() as AddressInfo;
    bob.addExposure(parseExposure(`127.0.0.1:${port}`));
    const [forward] = await start({ dynamic: [parseDynamic('0')] });
    const { socket } = await socks(parseEndpoint(forward!.listen), 1, ipv4(port));
    socket.on('error', () => {}).write('hello');
    const message = `127.0.0.1:${port}: the stream broke off: read ECONNRESET`;
    await expect.poll(() => errors).toMatchObject([{ code: 'STREAM_RESET', message }]);
  });

  it('waits for a request as long as for any, however slowly it comes', async () => {
    const [forward] = await start({ dynamic: [parseDynamic('0')] });
    const { address, port } = parseEndpoint(forward!.listen);
    const socket = connect(port, address).on('error', () => {});
    closers.push(() => socket.destroy());
    socket.write(Uint8Array.of(5, 255));
    const trickling = setInterval(() => socket.write(Uint8Array.of(0)), 1_000);
    await once(socket.resume(), 'close');
    clearInterval(trickling);
    expect(socket.bytesWritten).toBeLessThan(100);
  }, 60_000);

  it('with --expose any reaches everything but what no one may reach, by any name or spelling', async () => {
    bob.addExposure('any');
    const port = await capitals();
    const [forward] = await start({ dynamic: [parseDynamic('0')] });
    const at = parseEndpoint(forward!.listen);
    expect((await socks(at, 1, named('127.0.0.1', port))).code).toBe(0);
    expect((await socks(at, 1, named('169.254.169.254', 80))).code).toBe(2);
    expect((await socks(at, 1, named('::ffff:169.254.169.254', 80))).code).toBe(2);
    expect((await socks(at, 1, named('0.0.0.0', port))).code).toBe(2);
  });

  it('carries datagrams by UDP ASSOCIATE, for as long as its connection lives', async () => {
    const { port } = await udpCapitals();
    bob.addExposure(parseExposure(`localhost:${port}/udp`));
    const records: StreamRecord[] = [];
    bob.on('stream', (record) => records.push(record));
    const [forward] = await start({ dynamic: [parseDynamic('0')] });
    const { socket, code, bound } = await socks(parseEndpoint(forward!.listen), 3, ipv4(0));
    expect(code).toBe(0);
    const client = await udp();
    const to = { host: 'localhost', port };
    client.send(writeDatagram(to, utf8('hi')), bound, '127.0.0.1');
    const [answer] = (await once(client, 'message')) as [Buffer];
    const { address, data } = readDatagram(answer)!;
    expect([address, Buffer.from(data).toString()]).toEqual([to, 'HI']);
    socket.end();
    await once(socket.resume(), 'close');
    await expect.poll(() => records.map(({ state }) => state)).toEqual(['opened', 'closed']);
  });

  it('keeps nothing for clients that hang up with their UDP ASSOCIATE, however they do', async () => {
    const udpSockets = () => process.getActiveResourcesInfo().filter((kind) => kind === 'UDPWrap').length;
    const [forward] = await start({ dynamic: [parseDynamic('0')] });
    const { address, port } = parseEndpoint(forward!.listen);
    const before = udpSockets();
    const request = concat(Uint8Array.of(5, 1, 0, 5, 3, 0), ipv4(0));
    for (const hangUp of ['end', 'resetAndDestroy'] as const) {
      for (let count = 0; count < 20; count++) {
        const client = connect(port, address).on('error', () => {});
        client.write(request, () => client[hangUp]());
        await once(client.resume(), 'close');
      }
    }
    // The peers' own come and go meanwhile.
    await expect.poll(udpSockets, { timeout: 15_000 }).toBeLessThan(before + 10);
  });
});

describe('-R', () => {
  it('listens there and dials here, for a peer that is not allowed here itself', async () => {
    const port = await capitals();
    bob.permitListen(parsePermit('any'));
    const records: StreamRecord[] = [];
    alice.on('stream', (record) => records.push(record));
    const [forward] = await start({ remote: [parseRemote(`0:127.0.0.1:${port}`)] });
    const there = parseEndpoint(forward!.listen);
    expect(await say('hello', there)).toBe('HELLO');
    await expect.poll(() => records.map(({ state }) => state)).toEqual(['opened', 'closed']);
    // It listens no longer than the forward lives.
    await forward!.close();
    await expect
      .poll(() => say('x', there).catch((error: NodeJS.ErrnoException) => error.code))
      .toBe('ECONNREFUSED');
  });

  it('ends with the session', async () => {
    bob.permitListen(parsePermit('any'));
    const [forward] = await start({ remote: [parseRemote('0:127.0.0.1:1')] });
    await session.close();
    await expect
      .poll(() =>
        say('x', parseEndpoint(forward!.listen)).catch((error: NodeJS.ErrnoException) => error.code),
      )
      .toBe('ECONNREFUSED');
    expect(errors).toEqual([]);
  });

  it('is refused where it is not permitted, where the port is taken, and beyond a number of listeners', async () => {
    const taken = await capitals();
    const ask = (spec: string) => start({ remote: [parseRemote(spec)] });
    await expect(ask('8080:127.0.0.1:80')).rejects.toMatchObject({ code: 'NOT_AUTHORIZED' });
    bob.permitListen(parsePermit('any'));
    await expect(ask('0.0.0.0:0:127.0.0.1:80')).rejects.toMatchObject({ code: 'NOT_AUTHORIZED' });
    await expect(ask(`${taken}:127.0.0.1:80`)).rejects.toMatchObject({
      code: 'PORT_IN_USE',
      message: `the other side can't listen: port ${taken} on 127.0.0.1 is in use`,
    });
    for (let count = 0; count < 16; count += 1) await ask('0:127.0.0.1:80');
    await expect(ask('0:127.0.0.1:80')).rejects.toMatchObject({ code: 'LIMIT' });
  });

  it('carries datagrams', async () => {
    const { port } = await udpCapitals();
    bob.permitListen(parsePermit('any'));
    const [forward] = await start({ remote: [parseRemote(`0:127.0.0.1:${port}/udp`)] });
    expect(await ask(await udp(), 'hi', parseEndpoint(forward!.listen))).toBe('HI');
  });
});

describe('-L …/udp', () => {
  it('keeps datagrams apart, each client to itself, and answers the right one', async () => {
    const { port, askers } = await udpCapitals();
    bob.addExposure(parseExposure(`echo=127.0.0.1:${port}/udp`));
    const [forward] = await start({ local: [parseLocal('0:echo/udp')] });
    const at = parseEndpoint(forward!.listen);
    const clients = await Promise.all(Array.from({ length: 5 }, () => udp()));
    const answers = await Promise.all(clients.map((client, index) => ask(client, `from ${index}`, at)));
    expect(answers).toEqual([0, 1, 2, 3, 4].map((index) => `FROM ${index}`));
    expect(askers.size).toBe(5);
    // Several at once stay several, the empty and the largest one too.
    const got: number[] = [];
    clients[0]!.on('message', (bytes) => got.push(bytes.length));
    const sizes = [1, 0, 1_200, 65_000, 9_000];
    for (const size of sizes) clients[0]!.send(Buffer.alloc(size, 'a'), at.port, at.address);
    await expect.poll(() => got.toSorted((a, b) => a - b)).toEqual(sizes.toSorted((a, b) => a - b));
    expect(askers.size).toBe(5);
  });

  it.each([
    ['udp', true],
    ['relay', false],
  ] as const)('by a path of kind %s goes as messages that may be lost: %s', async (kind, unreliable) => {
    session = await alice.connect(bob.id, { paths: [kind] });
    const { port } = await udpCapitals();
    bob.addExposure(parseExposure(`echo=127.0.0.1:${port}/udp`));
    const [forward] = await start({ local: [parseLocal('0:echo/udp')] });
    const at = parseEndpoint(forward!.listen);
    const client = await udp();
    const send = vi.spyOn(session.datagrams, 'send');
    // The first goes on the stream, since the other end has to know of the flow.
    expect(await ask(client, 'one', at)).toBe('ONE');
    expect(await ask(client, 'two', at)).toBe('TWO');
    expect(await ask(client, 'x'.repeat(2_000), at)).toBe('X'.repeat(2_000));
    expect(send.mock.results.map(({ value }) => value as boolean)).toEqual([unreliable, false]);
  });

  it('listens on every address with *, as for TCP', async () => {
    const { port } = await udpCapitals();
    bob.addExposure(parseExposure(`echo=127.0.0.1:${port}/udp`));
    const [forward] = await start({ local: [parseLocal('*:0:echo/udp')] });
    const at = parseEndpoint(forward!.listen);
    expect(at.address).toBe('::');
    expect(await ask(await udp(), 'hi', { ...at, address: '127.0.0.1' })).toBe('HI');
  });

  it('drops what is still answered once it is closed', async () => {
    const { port } = await udpCapitals();
    bob.addExposure(parseExposure(`echo=127.0.0.1:${port}/udp`));
    const opened = vi.spyOn(session, 'openPurpose');
    const purpose = { for: 'udp-service', name: 'echo' } as const;
    const options = { opener: session, onError: (error: SallyportError) => errors.push(error) };
    const forward = await startUdpForward({ bind: '127.0.0.1', port: 0 }, purpose, options);
    await ask(await udp(), 'hi', parseEndpoint(forward.listen));
    const stream = (await opened.mock.results[0]!.value) as SessionStream;
    await forward.close();
    expect(stream.destroyed).toBe(false);
    expect(() => stream.emit('data', Uint8Array.of(0, 1, 65))).not.toThrow();
  });

  it('tells why a flow is refused, and leaves the others alone', async () => {
    const { port } = await udpCapitals();
    bob.addExposure(parseExposure(`echo=127.0.0.1:${port}/udp`));
    const [good, bad] = await start({ local: [parseLocal('0:echo/udp'), parseLocal('0:other/udp')] });
    const client = await udp();
    client.send('x', parseEndpoint(bad!.listen).port, '127.0.0.1');
    await expect.poll(() => errors.map(({ code }) => code)).toEqual(['SERVICE_UNKNOWN']);
    expect(await ask(client, 'hi', parseEndpoint(good!.listen))).toBe('HI');
  });

  /** Five flows at once, by the name of who sends; what comes back, whom bob's target has heard, and what bob tells of its streams. */
  const flowsToCapitals = async (options: { idleMs?: number; clock?: ManualClock }) => {
    const { port, askers } = await udpCapitals();
    bob.addExposure(parseExposure(`echo=127.0.0.1:${port}/udp`));
    const onError = (error: SallyportError) => errors.push(error);
    const flows = new DatagramFlows({ opener: session, onError, limit: 5, ...options });
    const records: StreamRecord[] = [];
    bob.on('stream', (record) => records.push(record));
    const answers = new Set<string>();
    const send = (keys: string) => {
      for (const key of keys) {
        flows.send(key, { for: 'udp-service', name: 'echo' }, utf8(key), (bytes) =>
          answers.add(Buffer.from(bytes).toString()),
        );
      }
    };
    const answered = (keys: string) =>
      expect
        .poll(() => keys.split('').filter((key) => !answers.has(key)), { timeout: 15_000 })
        .toEqual([])
        .then(() => answers.clear());
    return { flows, send, answered, askers, records };
  };

  it('ends flows that stand idle, at both ends', async () => {
    const { flows, send, answered, askers, records } = await flowsToCapitals({ idleMs: 300 });
    send('ab');
    await answered('AB');
    await expect.poll(() => flows.size).toBe(0);
    await expect.poll(() => records.filter(({ state }) => state === 'closed').length).toBe(2);
    send('b');
    await answered('B');
    expect(askers.size).toBe(3);
    await flows.close();
  });

  it('at the limit ends the answered flow that is silent longest for a new client, at once', async () => {
    const { flows, send, answered, askers, records } = await flowsToCapitals({ clock: new ManualClock() });
    for (const keys of ['abcde', 'afghi', 'ajklm']) {
      send(keys);
      await answered(keys.toUpperCase());
    }
    expect([askers.size, flows.size, errors]).toEqual([13, 5, []]);
    const closed = () => records.filter(({ state }) => state === 'closed');
    await expect.poll(closed, { timeout: 15_000 }).toHaveLength(8);
    await flows.close();
  });

  it('ends one flow without an answer a second, of five, so that a datagram that is led back to itself stops', async () => {
    const clock = new ManualClock();
    const { flows, send, answered } = await flowsToCapitals({ clock });
    send('abcdefgh'); // before any answer
    expect(errors.map(({ code }) => code)).toEqual(['LIMIT']);
    await answered('BCDEF');
    send('g');
    await answered('G');
    const silent = await udp();
    bob.addExposure(parseExposure(`silent=127.0.0.1:${silent.address().port}/udp`));
    const ask = (key: string) => flows.send(key, { for: 'udp-service', name: 'silent' }, utf8(key), () => {});
    for (const key of '12345') ask(key);
    await clock.pass(1_000);
    send('h');
    await answered('H');
    await flows.close();
  });
});
