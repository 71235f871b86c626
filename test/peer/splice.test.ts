import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseEndpoint } from '../../src/core/endpoint.ts';
import { startForward, type Listening } from '../../peer/services/forward.ts';
import type { Peer, Session } from '../../src/index.ts';
import { Meeting } from './meeting.ts';

// A TCP client here, a TCP server there, a session between them: what one end does, the other end sees.

const PLACE = { bind: '127.0.0.1', port: 0 };

let meeting: Meeting;
let server: Server;
let forward: Listening;
let errors: Error[];
let bob: Peer;
let session: Session;

beforeEach(async () => {
  meeting = await Meeting.start();
  server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  bob = await meeting.peer('bob', ['any']);
  bob.expose('target', `127.0.0.1:${port}`);
  const alice = await meeting.peer('alice');
  session = await alice.connect(bob.id);
  errors = [];
  const onError = (error: Error) => errors.push(error);
  forward = await startForward(PLACE, { for: 'service', name: 'target' }, session, onError);
});

afterEach(async () => {
  await forward.close();
  await meeting.close();
  server.close();
});

/** Both ends of one connection, talking already. */
async function connected(): Promise<{ client: Socket; served: Socket }> {
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const { address, port } = parseEndpoint(forward.listen);
  const client = connect({ host: address, port, allowHalfOpen: true });
  const [served] = await accepted;
  client.write('a');
  served.write('b');
  await Promise.all([once(client, 'data'), once(served, 'data')]);
  return { client: client.on('error', () => {}), served: served.on('error', () => {}) };
}

/** How the other end's connection ended. */
async function endOf(socket: Socket): Promise<'FIN' | 'RST'> {
  return new Promise((resolve) => {
    // libuv may tell an RST as an end; the kernel has forgotten the remote address then.
    socket.once('end', () =>
      resolve(socket.remoteAddress === undefined && !socket.writableEnded ? 'RST' : 'FIN'),
    );
    socket.once('error', (error: NodeJS.ErrnoException) => error.code === 'ECONNRESET' && resolve('RST'));
  });
}

describe.each(['client', 'server'] as const)('what the %s does', (who) => {
  const ends = async () => {
    const { client, served } = await connected();
    return who === 'client' ? { near: client, far: served } : { near: served, far: client };
  };

  it('a FIN stays a FIN, and the other direction goes on', async () => {
    const { near, far } = await ends();
    const ended = endOf(far);
    near.end('last');
    expect(await ended).toBe('FIN');
    far.write('still here');
    const [chunk] = (await once(near, 'data')) as [Buffer];
    expect(chunk.toString()).toBe('still here');
    const other = endOf(near);
    far.end();
    expect(await other).toBe('FIN');
  });

  it('an RST stays an RST', async () => {
    const { near, far } = await ends();
    const ended = endOf(far);
    near.resetAndDestroy();
    expect(await ended).toBe('RST');
  });

  it('an RST after a FIN stays one', async () => {
    const { near, far } = await ends();
    const finished = endOf(far);
    near.end();
    await finished;
    const reset = new Promise((resolve) => far.once('error', resolve));
    near.resetAndDestroy();
    // The kernel tells an RST to whoever still sends.
    const writing = setInterval(() => far.write('more'), 20);
    expect(await reset).toMatchObject({ code: expect.stringMatching(/ECONNRESET|EPIPE/) });
    clearInterval(writing);
  });

  it('an RST with data on the way is not taken for the end of it', async () => {
    const { near, far } = await ends();
    far.pause();
    near.write(Buffer.alloc(5_000_000));
    const ended = endOf(far);
    setTimeout(() => near.resetAndDestroy(), 100);
    far.resume();
    expect(await ended).toBe('RST');
  });
});

it('a client that breaks off with its last words is told to nobody, a target that does is', async () => {
  for (const who of ['client', 'served'] as const) {
    const ends = await connected();
    const [near, far] = who === 'client' ? [ends.client, ends.served] : [ends.served, ends.client];
    const ended = endOf(far);
    // What is read before an RST has libuv tell that as an end.
    near.write('last', () => near.resetAndDestroy());
    expect(await ended).toBe('RST');
    const told = { code: 'STREAM_RESET', message: 'target: the stream broke off: read ECONNRESET' };
    expect(errors).toMatchObject(who === 'client' ? [] : [told]);
  }
});

it('the end of a Unix socket, which has no addresses, is not taken for an RST', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-splice-'));
  const path = join(folder, 'target.sock');
  const target = createServer((socket) => socket.end('last')).listen(path);
  await once(target, 'listening');
  bob.expose('local', path);
  const toLocal = await startForward(PLACE, { for: 'service', name: 'local' }, session, () => {});
  const { address, port } = parseEndpoint(toLocal.listen);
  const client = connect({ host: address, port, allowHalfOpen: true });
  const ended = endOf(client);
  const [chunk] = (await once(client, 'data')) as [Buffer];
  expect(chunk.toString()).toBe('last');
  expect(await ended).toBe('FIN');
  client.end();
  await toLocal.close();
  target.close();
  rmSync(folder, { recursive: true });
});
