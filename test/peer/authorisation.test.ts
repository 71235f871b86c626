import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { AllowFile } from '../../peer/allow-list.ts';
import { parseExposure } from '../../peer/exposure.ts';
import { encodePurpose } from '../../src/core/protocol/open.ts';
import type { Peer, SallyportError, Session, StreamRecord } from '../../src/index.ts';
import { silentEndpoint } from '../net/silent-endpoint.ts';
import { Meeting } from './meeting.ts';

let meeting: Meeting;
beforeEach(async () => {
  meeting = await Meeting.start();
});
afterEach(() => meeting.close());

/** A session of `from` with `to`, seen from both ends. */
async function connect(from: Peer, to: Peer): Promise<{ near: Session; far: Session }> {
  const begun = once(to, 'session') as Promise<[Session]>;
  const near = await from.connect(to.id);
  return { near, far: (await begun)[0] };
}

async function refusal(stream: Duplex): Promise<string> {
  const [error] = (await once(stream, 'error')) as [SallyportError];
  return error.code;
}

async function echoes(stream: Duplex): Promise<boolean> {
  stream.on('error', () => {}); // it may be ended by a test, or after it
  stream.write('hello');
  const [chunk] = (await once(stream, 'data')) as [Buffer];
  return chunk.toString() === 'hello';
}

function serveEcho(peer: Peer): void {
  peer.handle('echo', (stream) => stream.pipe(stream));
}

describe('a stream', () => {
  it('is authorised by the side that is asked, whichever opened the session', async () => {
    const bob = await meeting.peer('bob', ['any']);
    const alice = await meeting.peer('alice');
    serveEcho(alice);
    serveEcho(bob);
    const { near, far } = await connect(alice, bob);
    expect(await echoes(await near.open('echo'))).toBe(true);
    // Alice has called bob; that lets bob do nothing here.
    expect(await refusal(await far.open('echo'))).toBe('NOT_AUTHORIZED');
    expect(await refusal(await far.openPurpose({ for: 'pipe' }))).toBe('NOT_AUTHORIZED');
    expect(await refusal(await far.openPurpose({ for: 'target', host: '127.0.0.1', port: 1 }))).toBe(
      'NOT_AUTHORIZED',
    );
    new AllowFile(alice.home.allowFile).allow(`${bob.id}=echo`);
    await expect.poll(async () => tryEcho(far), { timeout: 5_000 }).toBe(true);
  });

  it('leaves one line each for the audit: who, what, why not, how much', async () => {
    const bob = await meeting.peer('bob', ['any']);
    serveEcho(bob);
    const records: StreamRecord[] = [];
    bob.on('stream', (record) => records.push(record));
    const alice = await meeting.peer('alice');
    const { near } = await connect(alice, bob);
    const stream = await near.open('echo');
    expect(await echoes(stream)).toBe(true);
    stream.end();
    await once(stream.resume(), 'close');
    await refusal(await near.open('other'));
    await expect.poll(() => records.length).toBe(3);
    const peer = alice.id;
    expect(records).toMatchObject([
      { peer, what: 'echo', state: 'opened' },
      { peer, what: 'echo', state: 'closed', sent: 5, received: 5 },
      { peer, what: 'other', state: 'refused', reason: 'SERVICE_UNKNOWN' },
    ]);
  });

  it('whose handler fails was not refused, by the audit', async () => {
    const bob = await meeting.peer('bob', ['any']);
    bob.handle('failing', async (stream) => {
      for await (const chunk of stream) throw new Error(String(chunk));
    });
    const records: string[] = [];
    bob.on('stream', ({ state }) => records.push(state));
    const { near } = await connect(await meeting.peer('alice'), bob);
    const failing = await near.open('failing');
    failing.write('no');
    await once(failing, 'error');
    const left = await near.open('failing');
    await expect.poll(() => records.length).toBe(3);
    left.on('error', () => {}).destroy();
    await expect.poll(() => records.length).toBe(4);
    await refusal(await near.open('other'));
    await expect.poll(() => records.length).toBe(5);
    expect(records).toEqual(['opened', 'closed', 'opened', 'closed', 'refused']);
  });

  it('with an unreadable purpose, or a malformed update of the network, ends alone', async () => {
    const bob = await meeting.peer('bob', ['any']);
    serveEcho(bob);
    const alice = await meeting.peer('alice');
    const { near } = await connect(alice, bob);
    const headers = [
      new Uint8Array(),
      new Uint8Array(2_000),
      Uint8Array.of(0x81, 0xa3, 0x66, 0x6f, 0x72, 0xa1, 0x78),
    ];
    for (const header of headers) {
      const stream = near.driver.open(header);
      expect(await refusal(stream)).toBeOneOf(['PROTOCOL_ERROR', 'LIMIT']);
    }
    for (const bytes of [Uint8Array.of(0, 1, 1), Uint8Array.of(0xff, 0xff), Uint8Array.of(0, 0)]) {
      const stream = near.driver.open(encodePurpose({ for: 'updates' }));
      stream.write(bytes);
      expect(await refusal(stream)).toBeOneOf(['PROTOCOL_ERROR', 'LIMIT']);
    }
    expect(await tryEcho(near)).toBe(true);
  });

  it('for updates is one at a time', async () => {
    const bob = await meeting.peer('bob', ['any']);
    const alice = await meeting.peer('alice');
    const { near } = await connect(alice, bob);
    await alice.network.diagnosed(5_000); // else alice's own news may follow, on a stream that is newer still
    await new Promise((resolve) => setTimeout(resolve, 200));
    const streams = Array.from({ length: 20 }, () => {
      const stream = near.driver.open(encodePurpose({ for: 'updates' }));
      stream.on('error', () => {});
      return stream;
    });
    const ended = () => streams.map(({ destroyed }) => destroyed);
    await expect.poll(ended).toEqual([...Array.from({ length: 19 }, () => true), false]);
  });
});

describe('deny', () => {
  it('ends within a second the sessions of a peer that a rule for any lets in', async () => {
    const bob = await meeting.peer('bob', ['any']);
    serveEcho(bob);
    const alice = await meeting.peer('alice');
    const { near } = await connect(alice, bob);
    expect(await echoes(await near.open('echo'))).toBe(true);
    const closed = once(near, 'closed');
    const deniedAt = performance.now();
    new AllowFile(bob.home.allowFile).deny(alice.id);
    expect(await closed).toMatchObject([{ code: 'NOT_AUTHORIZED' }]);
    expect(performance.now() - deniedAt).toBeLessThan(3_000); // one second, on a machine with nothing else to do
    await expect(alice.connect(bob.id)).rejects.toMatchObject({ code: 'NOT_AUTHORIZED' });
    new AllowFile(bob.home.allowFile).allow(alice.id);
    await expect
      .poll(async () => (await alice.connect(bob.id).catch(() => undefined)) !== undefined, {
        timeout: 20_000,
      })
      .toBe(true);
  });

  it('ends its streams in a session that this end opened, and those to a service it may no longer use', async () => {
    const bob = await meeting.peer('bob', ['any']);
    const alice = await meeting.peer('alice', []);
    serveEcho(alice);
    alice.handle('other', (stream) => stream.pipe(stream));
    new AllowFile(alice.home.allowFile).allow(bob.id);
    const { far } = await connect(alice, bob);
    await expect.poll(async () => tryEcho(far), { timeout: 5_000 }).toBe(true);
    const [echo, other] = [await far.open('echo'), await far.open('other')];
    expect([await echoes(echo), await echoes(other)]).toEqual([true, true]);
    const narrowed = refusal(other);
    new AllowFile(alice.home.allowFile).allow(`${bob.id}=echo`);
    expect(await narrowed).toBe('NOT_AUTHORIZED');
    expect(await echoes(echo)).toBe(true);
    const denied = refusal(echo);
    new AllowFile(alice.home.allowFile).deny(bob.id);
    expect(await denied).toBe('NOT_AUTHORIZED');
  });

  it('ends the streams to what a name no longer stands for, and no other', async () => {
    const bob = await meeting.peer('bob', ['any']);
    const alice = await meeting.peer('alice');
    const server = createServer((socket) => socket.on('error', () => {}).pipe(socket)).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const target = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const expose = (...exposed: string[]) =>
      bob.reconfigure({ allow: ['any'], exposures: exposed.map(parseExposure), permits: [] });
    expose(`web=${target}`, `ssh=${target}`);
    const session = await alice.connect(bob.id);
    const [web, ssh] = [await session.open('web'), await session.open('ssh')];
    expect([await echoes(web), await echoes(ssh)]).toEqual([true, true]);
    let ended: string | undefined;
    web.on('error', (error: SallyportError) => (ended = error.code));
    expose('web=127.0.0.1:9', `ssh=${target}`);
    server.close();
    await expect.poll(() => ended, { timeout: 3_000 }).toBe('NOT_AUTHORIZED');
    expect(await echoes(ssh)).toBe(true);
  });

  it('ends a session that this end opened, too', async () => {
    const bob = await meeting.peer('bob', ['any']);
    const alice = await meeting.peer('alice');
    const { near } = await connect(alice, bob);
    const closed = once(near, 'closed');
    new AllowFile(alice.home.allowFile).deny(bob.id);
    expect(await closed).toMatchObject([{ code: 'NOT_AUTHORIZED' }]);
  });

  it('goes on when the list can not be read any more', async () => {
    const bob = await meeting.peer('bob', ['any']);
    const alice = await meeting.peer('alice');
    const told = once(bob, 'allow-list');
    new AllowFile(bob.home.allowFile).deny(alice.id);
    await expect
      .poll(() => alice.connect(bob.id).then(String, ({ code }: SallyportError) => code))
      .toBe('NOT_AUTHORIZED');
    writeFileSync(bob.home.allowFile, `!${alice.id}\nnonsense\n`, { mode: 0o600 });
    await told;
    await expect(alice.connect(bob.id)).rejects.toMatchObject({ code: 'NOT_AUTHORIZED' });
  });

  it('holds when the list can not be read: then nobody is allowed but by the command itself', async () => {
    const bob = await meeting.peer('bob');
    new AllowFile(bob.home.allowFile).allow('any');
    const alice = await meeting.peer('alice');
    await expect
      .poll(
        () =>
          alice.connect(bob.id).then(
            () => true,
            () => false,
          ),
        { timeout: 20_000 },
      )
      .toBe(true);
    const [session] = alice.sessions;
    const closed = once(session!, 'closed');
    writeFileSync(bob.home.allowFile, 'any\nnonsense\n', { mode: 0o600 });
    expect(await closed).toMatchObject([{ code: 'NOT_AUTHORIZED' }]);
  });
});

describe('a target', () => {
  it('is dialled only where it equals an exposure, and not for a peer without the grant', async () => {
    let dialled = 0;
    const target = createServer((socket) => {
      dialled++;
      socket.on('error', () => {});
      socket.pipe(socket);
    }).listen(0, '127.0.0.1');
    await once(target, 'listening');
    meeting.onClose(() => target.close());
    const { port } = target.address() as AddressInfo;
    const alice = await meeting.peer('alice');
    const bob = await meeting.peer('bob', [`${alice.id}=web`]);
    bob.expose('web', `127.0.0.1:${port}`);
    bob.expose('hidden', `localhost:${port}`);
    const { near } = await connect(alice, bob);
    expect(await echoes(await near.open('web'))).toBe(true);
    for (const host of ['localhost', '127.1', '0.0.0.0', '::ffff:127.0.0.1']) {
      const stream = await near.openPurpose({ for: 'target', host, port });
      expect(await refusal(stream)).toBe('NOT_AUTHORIZED');
    }
    for (const name of ['hidden', 'nothing'])
      expect(await refusal(await near.open(name))).toBe('NOT_AUTHORIZED');
    expect(dialled).toBe(1);
  });

  it('is dialled no longer than the stream is there, and that is told once', async () => {
    const { remote, close } = await silentEndpoint();
    meeting.onClose(close);
    const bob = await meeting.peer('bob', ['any']);
    bob.expose('silent', `${remote.address}:${remote.port}`);
    const records: StreamRecord[] = [];
    bob.on('stream', (record) => records.push(record));
    const { near } = await connect(await meeting.peer('alice'), bob);
    const dialled = new Set<Socket>();
    const noteDial = (message: unknown) => dialled.add((message as { socket: Socket }).socket);
    subscribe('net.client.socket', noteDial);
    onTestFinished(() => void unsubscribe('net.client.socket', noteDial));
    const underWay = () =>
      [...dialled].filter(({ connecting, destroyed }) => connecting && !destroyed).length;
    const streams = await Promise.all(Array.from({ length: 50 }, () => near.open('silent')));
    await expect.poll(underWay).toBeGreaterThanOrEqual(50);
    for (const stream of streams) stream.on('error', () => {}).reset();
    await expect.poll(underWay, { timeout: 5_000 }).toBeLessThan(50);
    await expect.poll(() => records.length).toBe(50);
    expect(records.every(({ state }) => state === 'closed')).toBe(true);
  });
});

async function tryEcho(session: Session): Promise<boolean> {
  const stream = await session.open('echo');
  return echoes(stream).catch(() => false);
}
