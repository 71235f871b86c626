import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync, existsSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { SallyportError } from '../../src/core/errors.ts';
import { parseEndpoint } from '../../src/core/endpoint.ts';
import { startForward } from '../../peer/services/forward.ts';
import {
  parseDynamic,
  parseLocal,
  parseRemote,
  parseTarget,
  type Place,
} from '../../peer/services/forward-spec.ts';
import { dialTarget } from '../../peer/services/target.ts';

const HERE: Place = { bind: '127.0.0.1', port: 0 };
const SERVICE = { for: 'service', name: 'web' } as const;
const usage = expect.objectContaining({ code: 'USAGE' });

describe('-L', () => {
  const at = (bind: string, port: number) => ({ bind, port });
  const target = (host: string, port: number) => ({ for: 'target', host, port });
  it.each([
    ['8080:web', at('127.0.0.1', 8080), SERVICE],
    ['8080:localhost:80', at('127.0.0.1', 8080), target('localhost', 80)],
    ['0.0.0.0:8080:web', at('0.0.0.0', 8080), SERVICE],
    ['*:8080:web', at('*', 8080), SERVICE],
    ['localhost:8080:web', at('localhost', 8080), SERVICE],
    ['0.0.0.0:8080:10.0.0.1:80', at('0.0.0.0', 8080), target('10.0.0.1', 80)],
    ['8080:10.0.0.1:80', at('127.0.0.1', 8080), target('10.0.0.1', 80)],
    ['[::1]:0:[::1]:80', at('::1', 0), target('::1', 80)],
    ['8080:/run/x.sock', at('127.0.0.1', 8080), { for: 'socket', path: '/run/x.sock' }],
    ['/tmp/a.sock:db.lan:5432', { path: '/tmp/a.sock' }, target('db.lan', 5432)],
    ['/tmp/a.sock:/run/x.sock', { path: '/tmp/a.sock' }, { for: 'socket', path: '/run/x.sock' }],
  ])('%s', (spec, place, purpose) => {
    expect(parseLocal(spec)).toEqual({ transport: 'tcp', place, purpose });
  });

  it('with /udp is of datagrams', () => {
    expect(parseLocal('53:10.0.0.1:53/udp')).toEqual({
      transport: 'udp',
      place: at('127.0.0.1', 53),
      purpose: { for: 'udp-target', host: '10.0.0.1', port: 53 },
    });
    expect(parseLocal('53:dns/udp').purpose).toEqual({ for: 'udp-service', name: 'dns' });
  });

  it.each([
    '',
    '8080',
    'web',
    'x:y:z',
    '99999:web',
    '1:2:3:4:5',
    '8080:',
    '/a.sock',
    '/a.sock:x/udp',
    '1:/x/udp',
    `/${'a'.repeat(108)}:web`,
  ])('%j is refused', (spec) => expect(() => parseLocal(spec)).toThrow(usage));
});

describe('-R, -D and -W', () => {
  it('say where to listen and what to dial', () => {
    expect(parseRemote('8080:localhost:80')).toEqual({
      transport: 'tcp',
      bind: '127.0.0.1',
      port: 8080,
      target: { via: 'tcp', host: 'localhost', port: 80 },
    });
    expect(parseRemote('[::1]:0:10.0.0.1:53/udp')).toMatchObject({
      transport: 'udp',
      bind: '::1',
      target: { via: 'udp', port: 53 },
    });
    expect(parseRemote('80:/run/x.sock').target).toEqual({ via: 'unix', path: '/run/x.sock' });
    expect(parseDynamic('1080')).toEqual({ bind: '127.0.0.1', port: 1080 });
    expect(parseDynamic('[::1]:0')).toEqual({ bind: '::1', port: 0 });
    expect(parseTarget('web')).toEqual(SERVICE);
    expect(parseTarget('/run/x.sock')).toEqual({ for: 'socket', path: '/run/x.sock' });
  });

  it.each(['8080', '8080:web', ':80', '80:/x/udp'])('-R %j is refused', (spec) =>
    expect(() => parseRemote(spec)).toThrow(usage),
  );

  it('-R on a Unix socket over there is not built', () => {
    expect(() => parseRemote('/a.sock:h:1')).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }));
  });

  it.each(['', 'x', '0.0.0.0:1080', 'example.com:1', '70000'])('-D %j is refused', (spec) =>
    expect(() => parseDynamic(spec)).toThrow(usage),
  );
});

describe('a forward', () => {
  it('carries each connection, halves ending alone, and resets the client when the target refuses', async () => {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      let got = '';
      socket.on('data', (chunk) => (got += chunk.toString()));
      socket.on('end', () => socket.end(got.toUpperCase()));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const errors: SallyportError[] = [];
    const opener = {
      openPurpose: () => dialTarget({ via: 'tcp', host: '127.0.0.1', port: open ? port : 1 }, true),
    };
    let open = true;
    const forward = await startForward(HERE, SERVICE, opener, (error) => errors.push(error));
    const there = parseEndpoint(forward.listen);

    const client = connect({ host: there.address, port: there.port, allowHalfOpen: true });
    client.end('hello');
    expect(await text(client)).toBe('HELLO');

    open = false;
    const refused = connect({ host: there.address, port: there.port });
    await once(refused, 'close').catch(() => {});
    expect(errors.map((error) => error.code)).toEqual(['TARGET_REFUSED']);
    await forward.close();
    server.close();
  });

  it('says when its port is in use', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const started = startForward(
      { bind: '127.0.0.1', port },
      SERVICE,
      { openPurpose: () => Promise.reject(new Error()) },
      () => {},
    );
    await expect(started).rejects.toMatchObject({ code: 'PORT_IN_USE' });
    server.close();
  });

  it.each([
    [{ bind: '192.0.2.9', port: 0 }, "can't listen on 192.0.2.9:0: EADDRNOTAVAIL", /an address of this host/],
    [{ path: '/nowhere/f.sock' }, "can't listen on /nowhere/f.sock: EACCES", /its folder/],
  ])('says why it can not listen at %j', async (place, message, hint) => {
    const opener = { openPurpose: () => Promise.reject(new Error()) };
    const failure = { code: 'USAGE', message, hint: expect.stringMatching(hint) as string };
    await expect(startForward(place, SERVICE, opener, () => {})).rejects.toMatchObject(failure);
  });

  it('on a Unix socket is for this user only, leaves what stands there alone, and takes its file away', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sallyport-'));
    const path = join(folder, 'f.sock');
    const server = createServer((socket) => socket.end('hi')).listen(join(folder, 'target.sock'));
    const opener = {
      openPurpose: () => dialTarget({ via: 'unix', path: join(folder, 'target.sock') }, true),
    };
    const forward = await startForward({ path }, SERVICE, opener, () => {});
    expect(forward.listen).toBe(path);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(await text(connect(path))).toBe('hi');
    const second = startForward({ path }, SERVICE, opener, () => {});
    await expect(second).rejects.toMatchObject({ code: 'PORT_IN_USE' });
    await forward.close();
    expect(existsSync(path)).toBe(false);
    server.close();
    rmSync(folder, { recursive: true });
  });

  it('takes so many connections at once, and says that it may lead back to itself', async () => {
    const errors: SallyportError[] = [];
    let port = 0;
    // Each connection to it makes another one.
    const opener = { openPurpose: () => dialTarget({ via: 'tcp', host: '127.0.0.1', port }, true) };
    const forward = await startForward(HERE, SERVICE, opener, (error) => errors.push(error), 20);
    port = parseEndpoint(forward.listen).port;
    const client = connect(port, '127.0.0.1').on('error', () => {});
    await new Promise((resolve) => client.on('close', resolve));
    expect(errors[0]).toMatchObject({ code: 'LIMIT', hint: expect.stringContaining('leads back to itself') });
    await forward.close();
  });
});

describe('a target', () => {
  it('that resets a connection before we have heard that it was accepted has refused it', async () => {
    // In a thread of its own, so that it can do so while this one stands still.
    const server = new Worker(
      `const { parentPort } = require('node:worker_threads');
       const server = require('node:net').createServer((socket) => socket.resetAndDestroy());
       server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port));`,
      { eval: true },
    );
    const [port] = (await once(server, 'message')) as [number];
    // After the dial, and before anything is heard of it.
    setImmediate(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300));
    await expect(dialTarget({ via: 'tcp', host: '127.0.0.1', port }, true)).rejects.toMatchObject({
      code: 'TARGET_REFUSED',
    });
    await server.terminate();
  });

  it('that refuses, has no address or is not to be reached, each has its code', async () => {
    const failure = (host: string, port: number, checked = true) =>
      dialTarget({ via: 'tcp', host, port }, checked).catch((error: SallyportError) => error.code);
    expect(await failure('127.0.0.1', 1)).toBe('TARGET_REFUSED');
    expect(await failure('no.such.name.invalid', 1)).toBe('TARGET_UNREACHABLE');
    // The second is a name to us, which the resolver knows as 169.254.169.254.
    for (const host of ['169.254.169.254', '2852039166'])
      expect(await failure(host, 80, false)).toBe('NOT_AUTHORIZED');
    await expect(dialTarget({ via: 'unix', path: '/no/such.sock' }, true)).rejects.toMatchObject({
      code: 'TARGET_REFUSED',
    });
  });
});
