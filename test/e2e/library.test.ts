import { text } from 'node:stream/consumers';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  Peer,
  Relay,
  Rendezvous,
  Stream,
  type Exposure,
  type SallyportError,
  type Service,
} from '../../src/index.ts';
import { uncaughtMessages } from '../uncaught.ts';

let folder: string;
let rendezvous: Rendezvous;
const opened: { close(): Promise<unknown> }[] = [];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-library-'));
  rendezvous = await Rendezvous.start({
    listen: '127.0.0.1:0',
    insecure: true,
    open: true,
    home: join(folder, 'r'),
  });
});

afterEach(async () => {
  await Promise.all(opened.splice(0).map((each) => each.close()));
  await rendezvous.close();
  rmSync(folder, { recursive: true, force: true });
});

async function start(name: string, allow: string[] = []): Promise<Peer> {
  const peer = await Peer.start({ home: join(folder, name), rendezvous: rendezvous.url, allow });
  opened.push(peer);
  return peer;
}

async function answerTo(stream: NodeJS.ReadWriteStream, text: string): Promise<string> {
  stream.end(text);
  let got = '';
  stream.on('data', (chunk: Buffer) => (got += chunk.toString()));
  await once(stream, 'end');
  return got;
}

describe('the library', () => {
  it('connects two peers, serves a stream in the process, and becomes direct', async () => {
    const bob = await start('bob', ['any']);
    const echo: Service = (stream) => stream.pipe(stream);
    bob.handle('echo', echo);
    const alice = await start('alice');
    const session = await alice.connect(bob.id);
    const stream = await session.open('echo');
    expect(stream).toBeInstanceOf(Stream);
    expect(await answerTo(stream, 'hello')).toBe('hello');
    const direct = await session.whenDirect({ timeout: 10_000 });
    expect(direct).toMatchObject({ direct: true, state: 'active' });
    expect(session.path?.direct).toBe(true);
    await expect.poll(() => session.paths.length, { timeout: 10_000 }).toBeGreaterThan(1);
    expect(session.trace.length).toBeGreaterThan(0);
    await session.close();
    expect(session.end?.code).toBeUndefined();
  });

  it('resets a stream whose handler fails, whether at once or later', async () => {
    const bob = await start('bob', ['any']);
    bob.handle('now', () => {
      throw new Error('no');
    });
    bob.handle('later', async () => Promise.reject(new Error('no')));
    const session = await (await start('alice')).connect(bob.id);
    for (const name of ['now', 'later']) {
      const stream = await session.open(name);
      await expect(answerTo(stream, 'hello')).rejects.toMatchObject({ code: 'INTERNAL' });
    }
  });

  // As with net.Server: a program that hears of what is uncaught, and goes on, shall find its other sessions and streams as they were.
  describe('lets what a listener of the program throws be uncaught, and goes on', () => {
    const uncaught = uncaughtMessages();
    const boom = (what: string) => () => {
      throw new Error(what);
    };

    it('of a peer or a session', async () => {
      const bob = await start('bob', ['any']);
      bob.handle('echo', (stream) => stream.pipe(stream));
      bob.on('session', boom('their session')).on('stream', boom('record'));
      const alice = await start('alice');
      alice.on('session', (session) => {
        for (const event of ['attached', 'path', 'trace', 'closed'] as const) session.on(event, boom(event));
        throw new Error('session');
      });
      const session = await alice.connect(bob.id);
      expect(await answerTo(await session.open('echo'), 'hello')).toBe('hello');
      expect(await session.whenDirect({ timeout: 10_000 })).toMatchObject({ direct: true });
      await session.close();
      await expect.poll(() => [...alice.sessions, ...bob.sessions]).toEqual([]);
      const told = ['session', 'their session', 'record', 'attached', 'path', 'trace', 'closed'];
      expect(uncaught).toEqual(new Set(told));
    });

    it.each(['tcp', 'relay'] as const)('of a stream by %s', async (path) => {
      const bob = await start('bob', ['any']);
      bob.handle('echo', (stream) => stream.pipe(stream));
      bob.handle('count', (stream) => {
        let bytes = 0;
        stream.pause();
        setTimeout(() => stream.resume(), 50); // some of it is taken from what waits, some as it comes
        stream.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
          throw new Error('data');
        });
        stream.on('end', () => stream.end(String(bytes)));
      });
      const session = await (await start('alice')).connect(bob.id, { paths: [path] });
      const [counted, echoed] = await Promise.all([session.open('count'), session.open('echo')]);
      echoed.write('before');
      counted.write('that', boom('written'));
      counted.on('drain', boom('drain')).write(Buffer.alloc(4 << 20));
      counted.end();
      expect(await text(counted)).toBe(String((4 << 20) + 'that'.length));
      expect(await answerTo(echoed, ' and after')).toBe('before and after');
      expect(uncaught).toEqual(new Set(['data', 'written']));
    });
  });

  it('tells a second meaning of a name, which nothing would reach', async () => {
    const bob = await start('bob');
    const usage = (message: RegExp) =>
      expect.objectContaining({ code: 'USAGE', message: expect.stringMatching(message) as string }) as Error;
    bob.expose('web', '127.0.0.1:3000');
    bob.expose('web', '127.0.0.1:3000');
    bob.expose('web', '127.0.0.1:3000/udp');
    expect(() => bob.expose('web', '127.0.0.1:3001')).toThrow(
      usage(/"web" would stand for both .*3000 and .*3001/),
    );
    expect(() => bob.handle('web', () => {})).toThrow(usage(/"web" would stand for both/));
    bob.handle('echo', () => {});
    expect(() => bob.expose('echo', '127.0.0.1:7')).toThrow(usage(/"echo" would stand for both/));
    bob.expose('echo', '127.0.0.1:7/udp');
    const tcp = (name: string, port: number) =>
      ({ name, target: { via: 'tcp', host: '127.0.0.1', port } }) as const;
    expect(() => bob.addExposure(tcp('echo', 7))).toThrow(usage(/"echo" would stand for both/));
    const reconfigure = (...exposures: Exposure[]) =>
      bob.reconfigure({ allow: ['any'], exposures, permits: [] });
    expect(() => reconfigure(tcp('other', 7), tcp('echo', 7))).toThrow(
      usage(/"echo" would stand for both .*7 and a service/),
    );
    expect(() => reconfigure(tcp('other', 7), tcp('other', 8))).toThrow(
      usage(/"other" would stand for both/),
    );
    bob.expose('other', '127.0.0.1:3000'); // what was refused has taken no name
  });

  it('gives a service to whoever handled it last', async () => {
    const bob = await start('bob', ['any']);
    bob.handle('name', (stream) => stream.end('first'));
    bob.handle('name', (stream) => stream.end('second'));
    const session = await (await start('alice')).connect(bob.id);
    expect(await answerTo(await session.open('name'), '')).toBe('second');
  });

  it('says at once that there is no such path', async () => {
    const alice = await start('alice');
    for (const paths of [[], ['fax' as 'udp']]) {
      await expect(alice.connect('a'.repeat(52), { paths })).rejects.toMatchObject({ code: 'USAGE' });
    }
  });

  it('says what is wrong with options of another type', async () => {
    const alice = await start('alice');
    const home = join(folder, 'bob');
    const options = { home, rendezvous: rendezvous.url };
    const odd = [
      () => Peer.start({ ...options, allow: 'any' as unknown as [] }),
      () => Peer.start({ ...options, name: 5 as unknown as string }),
      () => Peer.start({ ...options, role: 'both' as 'dial' }),
      () => alice.connect(5 as unknown as string),
      () => alice.plan(undefined as unknown as string),
      () => alice.accept(5 as unknown as string),
      () => alice.connect('a'.repeat(52), { paths: 'udp' as unknown as [] }),
    ];
    for (const call of odd) await expect(call()).rejects.toMatchObject({ code: 'USAGE' });
    const bob = await start('bob', ['any']);
    const session = await alice.connect(bob.id);
    for (const name of ['', 'a'.repeat(254), undefined as unknown as string]) {
      await expect(session.open(name)).rejects.toMatchObject({ code: 'USAGE' });
      const usage = expect.objectContaining({ code: 'USAGE' }) as Error;
      expect(() => bob.handle(name, () => {})).toThrow(usage);
    }
  });

  // A call without types may hold anything, and none of it may be taken for something else: a text for a list, a word for yes.
  it.each<[string, unknown]>([
    ['a number', 5],
    ['a text', 'no'],
    ['null', null],
    ['an object', {}],
    ['a list', [5]],
    ['a function', () => {}],
  ])('takes %s for nothing that it is not', async (_what, odd) => {
    const given = odd as never;
    const bob = await start('bob', ['any']);
    bob.handle('echo', (stream) => stream.pipe(stream));
    const alice = await start('alice');
    const session = await alice.connect(bob.id);
    const stream = await session.open('echo');
    stream.on('error', () => {}); // it is closed with its session
    const isObject = typeof odd === 'object' && odd !== null && !Array.isArray(odd);
    const options = isObject ? [] : [given];
    const server = { listen: '127.0.0.1:0', stunPort: 0, insecure: true, home: join(folder, 'other') };
    const peer = { home: join(folder, 'third'), rendezvous: rendezvous.url };
    const relay = { ...server, rendezvous: rendezvous.url };
    const calls: (() => unknown)[] = [
      ...['portMapping', 'signal'].map((name) => () => Peer.start({ ...peer, [name]: odd })),
      ...['paths', 'signal', 'acceptName'].flatMap((name) => [
        () => alice.connect(bob.id, { [name]: odd }),
        () => alice.plan(bob.id, { [name]: odd }),
      ]),
      ...['services', 'signal'].map((name) => () => alice.accept(bob.invite(), { [name]: odd })),
      () => alice.invite({ services: given }),
      () => alice.reconfigure({ allow: given, exposures: [], permits: [] }),
      () => alice.reconfigure({ allow: [], exposures: given, permits: [] }),
      () => session.open('echo', { signal: given }),
      () => session.ping({ signal: given }),
      () => session.whenDirect({ signal: given }),
      () => session.close({ signal: given }),
      () => stream.reset(given),
      () => alice.addExposure(given),
      () => alice.permitListen(given),
      ...['insecure', 'open', 'relay'].map((name) => () => Rendezvous.start({ ...server, [name]: odd })),
      ...['insecure', 'signal'].map((name) => () => Relay.start({ ...relay, [name]: odd })),
      ...options.flatMap((no) => [
        () => Peer.start(no),
        () => alice.connect(bob.id, no),
        () => alice.plan(bob.id, no),
        () => alice.accept(bob.invite(), no),
        () => alice.invite(no),
        () => session.open('echo', no),
        () => session.ping(no),
        () => session.whenDirect(no),
        () => session.close(no),
        () => alice.close(no),
        () => Rendezvous.start(no),
        () => Relay.start(no),
      ]),
    ];
    if (typeof odd !== 'number') {
      calls.push(
        () => session.ping({ timeoutMs: given }),
        () => session.whenDirect({ timeout: given }),
        () => Rendezvous.start({ ...server, stunPort: given }),
        () => Relay.start({ ...relay, stunPort: given }),
      );
    }
    if (typeof odd !== 'function') {
      calls.push(
        () => alice.handle('x', given),
        () => alice.offerPipe(given),
      );
    }
    if (typeof odd !== 'string') {
      const texts = ['publicUrl', 'publicAddress', 'altAddress', 'ipv6Address', 'home', 'tokenFile'];
      calls.push(
        ...texts.map((name) => () => Rendezvous.start({ ...server, [name]: odd })),
        ...['publicUrl', 'rendezvous', 'home'].map((name) => () => Relay.start({ ...relay, [name]: odd })),
        () => alice.handle(given, () => {}),
        () => alice.expose(given, 'localhost:80'),
        () => alice.expose('web', given),
      );
    }
    for (const call of calls) {
      const outcome = await Promise.resolve()
        .then(call)
        .catch((thrown: unknown) => thrown);
      expect({ call: call.toString(), outcome }).toMatchObject({ outcome: { code: 'USAGE' } });
    }
    expect(session.end).toBeUndefined();
  });

  it('says which option was meant where one is misspelt', async () => {
    const bob = await start('bob', ['any']);
    bob.handle('echo', (stream) => stream.pipe(stream));
    const alice = await start('alice');
    const session = await alice.connect(bob.id);
    const given = (options: object) => options as never;
    const home = join(folder, 'other');
    const server = { listen: '127.0.0.1:0', stunPort: 0, insecure: true, home };
    const relay = { ...server, rendezvous: rendezvous.url };
    const calls: [RegExp, () => unknown][] = [
      [/^alow: .*mean allow\?$/, () => Peer.start(given({ home, alow: ['any'] }))],
      [/^options\.path: .*mean paths\?$/, () => alice.connect(bob.id, given({ path: ['udp'] }))],
      [/^options\.Paths: .*mean paths\?$/, () => alice.plan(bob.id, given({ Paths: ['udp'] }))],
      [/^service: .*mean services\?$/, () => alice.invite(given({ service: ['web'] }))],
      [/^permit: .*mean permits\?$/, () => alice.reconfigure(given({ permit: [] }))],
      [/^timeoutMS: .*mean timeoutMs\?$/, () => session.ping(given({ timeoutMS: 5 }))],
      [/^timeoutMs: .*mean timeout\?$/, () => session.whenDirect(given({ timeoutMs: 5 }))],
      [/^sinal: .*mean signal\?$/, () => session.close(given({ sinal: undefined }))],
      [/^tokenfile: .*mean tokenFile\?$/, () => Rendezvous.start(given({ ...server, tokenfile: 'x' }))],
      [/^limits\.idle: .*mean idleMs\?$/, () => Relay.start({ ...relay, limits: given({ idle: 5 }) })],
    ];
    for (const [message, call] of calls) {
      const outcome = await Promise.resolve()
        .then(call)
        .catch((thrown: unknown) => thrown);
      const refusal = { code: 'USAGE', message: expect.stringMatching(message) as string };
      expect({ call: call.toString(), outcome }).toMatchObject({ outcome: refusal });
    }
    expect(session.end).toBeUndefined();
    // What is like none of them may be another version's.
    const stream = await session.open('echo', given({ urgent: true }));
    stream.end();
    expect(await text(stream)).toBe('');
  });

  it('starts no rendezvous that is no longer wanted', async () => {
    const wanted = new AbortController();
    const options = { listen: '127.0.0.1:0', stunPort: 0, insecure: true, home: join(folder, 'unwanted') };
    const starting = Rendezvous.start({ ...options, signal: wanted.signal });
    wanted.abort();
    await expect(starting).rejects.toMatchObject({ code: 'ABORTED' });
    await expect(Rendezvous.start({ ...options, signal: wanted.signal })).rejects.toMatchObject({
      code: 'ABORTED',
    });
  });

  it.each([-1, 65_535, 99_999, 3478.5, NaN])('takes no STUN port %s', async (stunPort) => {
    const place = { listen: '127.0.0.1:0', insecure: true, stunPort };
    const home = join(folder, 'other');
    await expect(Rendezvous.start({ ...place, home })).rejects.toMatchObject({ code: 'USAGE' });
    const relay = Relay.start({ ...place, home, rendezvous: rendezvous.url });
    await expect(relay).rejects.toMatchObject({ code: 'USAGE' });
  });

  it('closes twice as well as once', async () => {
    const bob = await start('bob');
    await bob.close();
    await bob.close();
    // A connection was open at the first time.
    await start('alice');
    await rendezvous.close();
    await expect(rendezvous.close()).resolves.toBeUndefined();
    await expect(Promise.all([rendezvous.close(), rendezvous.close()])).resolves.toHaveLength(2);
  });

  it('that is closed lets nobody wait for a peer that has not answered', async () => {
    const bob = await start('bob', ['any']);
    const alice = await start('alice');
    const calls = [
      alice.connect(bob.id),
      alice.connect(bob.id, { signal: new AbortController().signal }),
      alice.connect('bob-by-name'),
    ];
    const refused = Promise.allSettled([...calls, alice.plan(bob.id)]);
    await alice.close();
    for (const outcome of await refused)
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'SESSION_CLOSED' } });
  });

  it('refuses typed: unknown peers, peers that do not allow us, unknown services, an aborted call', async () => {
    const bob = await start('bob');
    const carol = await start('carol', ['any']);
    const alice = await start('alice');
    const nobody = 'a'.repeat(52);
    await expect(alice.connect(nobody)).rejects.toMatchObject({ code: 'PEER_OFFLINE' });
    await expect(alice.connect(bob.id)).rejects.toMatchObject({ code: 'NOT_AUTHORIZED' });
    await expect(alice.connect('nobody-by-this-name')).rejects.toMatchObject({ code: 'PEER_OFFLINE' });
    const given = AbortSignal.abort();
    await expect(alice.connect(carol.id, { signal: given })).rejects.toMatchObject({ code: 'ABORTED' });

    const session = await alice.connect(carol.id);
    const stream = await session.open('nothing');
    const [error] = (await once(stream, 'error')) as [SallyportError];
    expect(error.code).toBe('SERVICE_UNKNOWN');
  });

  it('gives up a ping, and the waiting of a close, when told', async () => {
    const bob = await start('bob', ['any']);
    bob.handle('silent', () => {}); // reads nothing
    const session = await (await start('alice')).connect(bob.id);
    const waiting = new AbortController();
    const ping = session.ping({ signal: waiting.signal });
    const stream = await session.open('silent');
    stream.on('error', () => {}).end(Buffer.alloc(8 << 20));
    const closed = session.close({ signal: waiting.signal });
    waiting.abort();
    await expect(ping).rejects.toMatchObject({ code: 'ABORTED' });
    await closed;
    expect(session.end).toMatchObject({ code: 'SESSION_CLOSED' });
    await expect(session.ping({ signal: waiting.signal })).rejects.toMatchObject({ code: 'SESSION_CLOSED' });
  });

  it('gives up asking whose a name is when told', async () => {
    const alice = await start('alice');
    const [first, second] = [new AbortController(), new AbortController()];
    const connecting = alice.connect('bob', { signal: first.signal });
    const planning = alice.plan('bob', { signal: second.signal });
    const other = alice.connect('bob');
    const outcomes = Promise.allSettled([connecting, planning, other]);
    first.abort();
    second.abort();
    const codes = ['ABORTED', 'ABORTED', 'PEER_OFFLINE'];
    expect(await outcomes).toMatchObject(codes.map((code) => ({ reason: { code } })));
    const unwanted = { signal: first.signal };
    await expect(alice.connect('bob', unwanted)).rejects.toMatchObject({ code: 'ABORTED' });
  });

  it('says in whenDirect why a session is relayed', async () => {
    const bob = await start('bob', ['any']);
    const alice = await start('alice');
    const session = await alice.connect(bob.id, { paths: ['relay'] });
    await expect(session.whenDirect({ timeout: 500 })).rejects.toMatchObject({ code: 'NO_PATH' });
  });

  it('says when the rendezvous can not be reached', async () => {
    const options = { home: join(folder, 'x'), rendezvous: 'http://127.0.0.1:1' };
    await expect(Peer.start(options)).rejects.toMatchObject({ code: 'RENDEZVOUS_UNREACHABLE' });
    await expect(Peer.start({ ...options, rendezvous: 'ftp://x' })).rejects.toMatchObject({
      code: 'URL_INVALID',
    });
    await expect(Peer.start({ home: join(folder, 'x') })).rejects.toMatchObject({ code: 'USAGE' });
  });
});
