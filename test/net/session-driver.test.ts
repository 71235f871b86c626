import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';
import { Duplex, Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { afterEach, describe, expect, it } from 'vitest';
import type { SessionEnd } from '../../src/core/session/events.ts';
import { SessionDriver } from '../../src/net/session-driver.ts';
import type { SessionStream } from '../../src/net/session-stream.ts';
import { uncaughtMessages } from '../uncaught.ts';

const MIB = 1024 * 1024;

/** Two sessions in this process, joined by TCP connections over loopback. */
class Loopback {
  readonly initiator: SessionDriver;
  readonly responder: SessionDriver;
  readonly #sockets: net.Socket[] = [];

  constructor() {
    const sessionId = randomBytes(16);
    this.initiator = new SessionDriver({ role: 'initiator', sessionId });
    this.responder = new SessionDriver({ role: 'responder', sessionId });
  }

  async addPath(): Promise<net.Socket> {
    const listener = net.createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1');
    await once(listener, 'listening');
    const { port } = listener.address() as net.AddressInfo;
    const dialled = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    const [accepted] = (await once(listener, 'connection')) as [net.Socket];
    listener.close();
    this.#sockets.push(dialled, accepted);
    this.initiator.addPath({ kind: 'tcp', direct: true }, dialled);
    this.responder.addPath({ kind: 'tcp', direct: true }, accepted);
    return dialled;
  }

  /** A stream as both ends see it. */
  async open(header = 'test'): Promise<[SessionStream, SessionStream]> {
    const accepted = once(this.responder, 'stream');
    const from = this.initiator.open(Buffer.from(header));
    const [to] = (await accepted) as [SessionStream];
    // Streams that are still open fail when the test ends.
    for (const stream of [from, to]) stream.on('error', () => {});
    return [from, to];
  }

  destroy(): void {
    this.initiator.destroy();
    this.responder.destroy();
    for (const socket of this.#sockets) socket.destroy();
  }
}

const made: Loopback[] = [];

function loopback(): Loopback {
  const pair = new Loopback();
  made.push(pair);
  return pair;
}

afterEach(() => {
  for (const pair of made.splice(0)) pair.destroy();
});

function* blocks(total: number): Generator<Buffer> {
  const block = randomBytes(100_003);
  for (let left = total; left > 0; left -= block.length) yield Buffer.from(block.subarray(0, left));
}

/** Reads to the end; iterating over a `Duplex` would destroy its writable side as well. */
async function collect(stream: Duplex): Promise<Buffer> {
  const chunks: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  await once(stream, 'end');
  return Buffer.concat(chunks);
}

describe('SessionDriver', () => {
  it('sends the first bytes of a stream together with its OPEN, also to whoever awaited it', async () => {
    const { initiator } = loopback();
    const written: number[] = [];
    const pipe = new Duplex({
      read() {},
      write(chunk: Buffer, _encoding, done) {
        written.push(chunk.length);
        done();
      },
    });
    initiator.addPath({ kind: 'tcp', direct: true }, pipe);
    const attachment = written.splice(0);
    const open = async () => initiator.open(Buffer.from('test'));
    const stream = await open();
    stream.on('error', () => {});
    stream.write('x');
    await new Promise(setImmediate);
    expect(attachment).toHaveLength(1);
    expect(written).toHaveLength(1);
  });

  it('moves 64 MiB unchanged while the path is killed five times', async () => {
    const pair = loopback();
    let path = await pair.addPath();
    const [from, to] = await pair.open();
    const sent = createHash('sha256');
    const source = Readable.from(blocks(64 * MIB)).on('data', (bytes: Buffer) => sent.update(bytes));
    const received = createHash('sha256');
    let bytes = 0;
    let kills = 0;
    to.on('data', (chunk: Buffer) => {
      received.update(chunk);
      bytes += chunk.length;
      if (kills >= 5 || bytes < (kills + 1) * 10 * MIB) return;
      kills += 1;
      path.resetAndDestroy();
      void pair.addPath().then((next) => (path = next));
    });
    await Promise.all([pipeline(source, from, { end: true }).catch(() => {}), once(to, 'end')]);
    expect({ bytes, kills }).toEqual({ bytes: 64 * MIB, kills: 5 });
    expect(received.digest('hex')).toBe(sent.digest('hex'));
    expect(pair.initiator.stats.framesResent).toBeGreaterThan(0);
  });

  it('lets each direction of a stream end alone', async () => {
    const pair = loopback();
    await pair.addPath();
    const [from, to] = await pair.open();
    from.end('question');
    expect(String(await collect(to))).toBe('question');
    to.end('answer, after the end of the question');
    expect(String(await collect(from))).toBe('answer, after the end of the question');
    for (const stream of [from, to]) if (!stream.closed) await once(stream, 'close');
    expect(pair.initiator.stats.streams).toBe(0);
    expect(pair.responder.stats.streams).toBe(0);
  });

  it('carries 200 streams at once, in both directions', async () => {
    const pair = loopback();
    await pair.addPath();
    pair.responder.on('stream', (stream) => stream.pipe(stream));
    const echoes = Array.from({ length: 200 }, async (_, index) => {
      const stream = pair.initiator.open(Buffer.from('echo'));
      const block = randomBytes(10_000 + index);
      stream.end(block);
      return (await collect(stream)).equals(block);
    });
    expect(await Promise.all(echoes)).toEqual(Array.from({ length: 200 }, () => true));
  });

  it('holds a writer back while nobody reads, and goes on afterwards', async () => {
    const pair = loopback();
    await pair.addPath();
    const [from, to] = await pair.open();
    let written = 0;
    const source = Readable.from(blocks(20 * MIB)).on('data', (chunk: Buffer) => (written += chunk.length));
    const sending = pipeline(source, from, { end: true }).catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(written).toBeLessThan(3 * MIB);
    expect((await collect(to)).length).toBe(20 * MIB);
    to.end();
    await sending;
  });

  it('counts what nobody reads', async () => {
    const pair = loopback();
    await pair.addPath();
    const [from, to] = await pair.open();
    from.write(randomBytes(100_000));
    await expect.poll(() => pair.responder.stats.unreadBytes).toBe(100_000);
    expect(to.readableLength).toBe(0);
  });

  it('gives a reader everything in order who pauses within an event, reads by itself, and goes on', async () => {
    const pair = loopback();
    await pair.addPath();
    const [from, to] = await pair.open();
    const bytes = randomBytes(2 * MIB);
    from.end(bytes);
    const got: Buffer[] = [];
    to.on('data', (chunk: Buffer) => {
      got.push(chunk);
      if (got.length % 3 !== 0) return;
      to.pause();
      setTimeout(() => {
        const more = to.read() as Buffer | null; // tells of it by a 'data' event as well
        expect(more === null || got.at(-1) === more).toBe(true);
        to.resume();
      }, 1);
    });
    await once(to, 'end');
    expect(Buffer.concat(got).equals(bytes)).toBe(true);
  });

  it('decodes characters that come in two pieces', async () => {
    const pair = loopback();
    await pair.addPath();
    const [from, to] = await pair.open();
    let got = '';
    to.setEncoding('utf8').on('data', (text: string) => (got += text));
    for (const byte of Buffer.from('grüße')) {
      from.write(Buffer.of(byte));
      await new Promise((resolve) => setImmediate(resolve));
    }
    from.end();
    await once(to, 'end');
    expect(got).toBe('grüße');
  });

  it('passes a few bytes from TCP on before the turn that brought them is over', async () => {
    const pair = loopback();
    const socket = await pair.addPath();
    const [from, to] = await pair.open();
    let newest = { over: false };
    const push = socket.push.bind(socket);
    socket.push = (chunk: Buffer | null) => {
      const turn = { over: false };
      newest = turn;
      setImmediate(() => (turn.over = true));
      return push(chunk);
    };
    const passedOn = new Promise((resolve) => from.once('data', () => resolve({ ...newest })));
    to.write('a');
    expect(await passedOn).toEqual({ over: false });
  });

  it('tells the peer why a stream was reset', async () => {
    const pair = loopback();
    await pair.addPath();
    const [from, to] = await pair.open();
    to.on('error', () => {});
    to.reset('TARGET_REFUSED', 'connection refused by 127.0.0.1:9');
    const [error] = (await once(from, 'error')) as [Error];
    expect(error).toMatchObject({ code: 'TARGET_REFUSED', message: 'connection refused by 127.0.0.1:9' });
  });

  it('tells whoever waits for a write or for the end that the stream has failed', async () => {
    const pair = loopback();
    await pair.addPath();
    const [from, to] = await pair.open();
    const told = Promise.all([
      new Promise((resolve) => from.write(Buffer.alloc(MIB), resolve)),
      new Promise((resolve) => from.write(Buffer.alloc(1), resolve)),
      new Promise((resolve) => from.end(resolve)),
    ]);
    to.reset('NOT_AUTHORIZED', 'no entry');
    const refused = { code: 'NOT_AUTHORIZED' };
    expect(await told).toMatchObject([refused, refused, refused]);
  });

  it('calls nothing finished that the peer has refused, however late its answer is read', async () => {
    const pair = loopback();
    await pair.addPath();
    const [from, to] = await pair.open();
    from.end(randomBytes(5 * MIB));
    let finished = false;
    from.on('finish', () => (finished = true));
    to.end('no room', () => to.destroy());
    await once(to, 'close');
    await new Promise((resolve) => setTimeout(resolve, 50));
    const failed = once(from, 'error');
    let answer = '';
    from.on('data', (chunk: Buffer) => (answer += chunk.toString()));
    expect((await failed)[0]).toMatchObject({ code: 'ABORTED' });
    expect({ answer, finished }).toEqual({ answer: 'no room', finished: false });
  });

  it('keeps what was sent completely readable after the sender has gone', async () => {
    const pair = loopback();
    await pair.addPath();
    const [from, to] = await pair.open();
    from.on('error', () => {});
    from.end(randomBytes(200_000), () => from.destroy());
    await once(from, 'close');
    await new Promise((resolve) => setTimeout(resolve, 50));
    let bytes = 0;
    to.on('data', (chunk: Buffer) => (bytes += chunk.length));
    const [error] = (await once(to, 'error')) as [Error];
    expect(error).toMatchObject({ code: 'ABORTED' });
    expect(bytes).toBe(200_000);
  });

  it('aborts a stream by its signal', async () => {
    const pair = loopback();
    await pair.addPath();
    const abort = new AbortController();
    const accepted = once(pair.responder, 'stream') as Promise<[SessionStream]>;
    const from = pair.initiator.open(Buffer.from('test'), { signal: abort.signal });
    const [to] = await accepted;
    const failures = Promise.all([once(from, 'error'), once(to, 'error')]);
    abort.abort();
    expect(await failures).toMatchObject([[{ code: 'ABORTED' }], [{ code: 'ABORTED' }]]);
    const late = () => pair.initiator.open(Buffer.from('test'), { signal: abort.signal });
    expect(late).toThrow(expect.objectContaining({ code: 'ABORTED' }));
  });

  it('refuses streams where nobody listens for them', async () => {
    const pair = loopback();
    await pair.addPath();
    const stream = pair.initiator.open(Buffer.from('test'));
    const [error] = (await once(stream, 'error')) as [Error];
    expect(error).toMatchObject({ code: 'UNSUPPORTED' });
  });

  it('pings, sends datagrams and reports its paths', async () => {
    const pair = loopback();
    const events: string[] = [];
    pair.initiator.on('path', ({ path, state }) => events.push(`${path.kind} ${state}`));
    await pair.addPath();
    const { rttMs, path } = await pair.initiator.ping();
    expect(rttMs).toBeGreaterThan(0);
    expect(path).toEqual(pair.initiator.activePath);
    expect(events).toEqual(['tcp up', 'tcp active']);
    const datagram = once(pair.responder, 'datagram');
    pair.initiator.sendDatagram(Buffer.from('ping'));
    expect(Buffer.from(((await datagram) as [Uint8Array])[0]).toString()).toBe('ping');
  });

  it('closes cleanly at both ends after what was ended has arrived', async () => {
    const pair = loopback();
    await pair.addPath();
    const [from, to] = await pair.open();
    const ended = once(pair.responder, 'closed') as Promise<[SessionEnd]>;
    from.end(randomBytes(3 * MIB));
    to.end();
    const closing = pair.initiator.close();
    expect((await collect(to)).length).toBe(3 * MIB);
    expect(await closing).toMatchObject({ code: undefined, remote: false });
    expect((await ended)[0]).toMatchObject({ code: undefined, remote: true });
    expect(() => pair.initiator.open(Buffer.from('late'))).toThrow(
      expect.objectContaining({ code: 'SESSION_CLOSED' }),
    );
  });

  it('fails its streams and pings when it is destroyed', async () => {
    const pair = loopback();
    await pair.addPath();
    const [from, to] = await pair.open();
    const failures = Promise.all([once(from, 'error'), once(to, 'error')]);
    const ping = pair.initiator.ping();
    pair.initiator.destroy('NOT_AUTHORIZED', 'denied');
    await expect(ping).rejects.toMatchObject({ code: 'NOT_AUTHORIZED' });
    expect(await failures).toMatchObject([[{ code: 'NOT_AUTHORIZED' }], [{ code: 'NOT_AUTHORIZED' }]]);
  });

  describe('of which a callback of the program throws as it ends', () => {
    const uncaught = uncaughtMessages();

    it('fails its other streams, and says that it has ended', async () => {
      const pair = loopback();
      await pair.addPath();
      const [stream, answering] = await pair.open();
      const [other] = await pair.open();
      answering.end('an answer that nobody reads');
      await expect.poll(() => stream.bytesReceived).toBeGreaterThan(0);
      stream.write(Buffer.alloc(16 * MIB), () => {
        throw new Error('written');
      });
      const ended = [once(pair.initiator, 'closed'), once(other, 'error')];
      pair.initiator.destroy();
      await Promise.all(ended);
      expect(uncaught).toEqual(new Set(['written']));
    });
  });
});
