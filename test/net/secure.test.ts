import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { connect, createSecureContext, TLSSocket } from 'node:tls';
import { afterEach, describe, expect, it } from 'vitest';
import { secure } from '../../src/net/secure.ts';
import type { PathKeys } from '../../src/core/session/keys.ts';
import { readTag } from '../../src/net/tag.ts';
import { http2Pair, memoryPair, tcpPair, udxPair, webSocketPair } from './pipes.ts';
import type { PipePair } from './pipes.ts';

const carriers: Record<string, { make: () => Promise<PipePair> | PipePair; halfClose: boolean }> = {
  TCP: { make: tcpPair, halfClose: true },
  'a Duplex in memory': { make: memoryPair, halfClose: true },
  'HTTP/2 extended CONNECT': { make: http2Pair, halfClose: true },
  WebSocket: { make: webSocketPair, halfClose: false },
  udx: { make: () => udxPair(), halfClose: true },
  'udx, its first bytes by messages': { make: () => udxPair(50), halfClose: true },
};

const opened: PipePair[] = [];
afterEach(async () => {
  for (const pair of opened.splice(0)) {
    pair.near.destroy();
    pair.far.destroy();
    await pair.close();
  }
});

async function open(make: () => Promise<PipePair> | PipePair): Promise<PipePair> {
  const pair = await make();
  opened.push(pair);
  return pair;
}

function pairOfKeys(psk = randomBytes(32)): { client: PathKeys; server: PathKeys } {
  const [a, b] = [randomBytes(16), randomBytes(16)];
  const identity = randomBytes(12).toString('base64url');
  return { client: { tagOut: a, tagIn: b, psk, identity }, server: { tagOut: b, tagIn: a, psk, identity } };
}

async function bothSecure(
  pair: PipePair,
  keys = pairOfKeys(),
): Promise<{ client: TLSSocket; server: TLSSocket }> {
  const [client, server] = await Promise.all([
    secure(pair.near, { role: 'client', keys: keys.client }),
    secure(pair.far, { role: 'server', keys: keys.server }),
  ]);
  return { client, server };
}

async function collect(stream: Duplex): Promise<Buffer> {
  const chunks: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  if (!stream.readableEnded) await once(stream, 'end');
  return Buffer.concat(chunks);
}

async function digest(stream: Duplex): Promise<string> {
  const hash = createHash('sha256');
  stream.on('data', (chunk: Buffer) => hash.update(chunk));
  await once(stream, 'end');
  return hash.digest('hex');
}

describe.each(Object.entries(carriers))('a path over %s', (_name, { make, halfClose }) => {
  it('is encrypted by the session key and carries bytes both ways', async () => {
    const { client, server } = await bothSecure(await open(make));
    expect(client.getProtocol()).toBe('TLSv1.3');
    expect(client.getCipher().standardName).toBe('TLS_AES_128_GCM_SHA256');
    client.write('ping');
    expect(String((await once(server, 'data'))[0])).toBe('ping');
    server.write('pong');
    expect(String((await once(client, 'data'))[0])).toBe('pong');
  });

  it('fails at both ends under a wrong key, before any application byte', async () => {
    const pair = await open(make);
    const keys = pairOfKeys();
    const client = secure(pair.near, { role: 'client', keys: { ...keys.client, psk: randomBytes(32) } });
    const server = secure(pair.far, { role: 'server', keys: keys.server });
    const refused = { status: 'rejected', reason: { name: 'SallyportError', code: 'HANDSHAKE_FAILED' } };
    expect(await Promise.allSettled([client, server])).toMatchObject([refused, refused]);
  });

  it('refuses its own tag coming back', async () => {
    const pair = await open(make);
    const { client } = pairOfKeys();
    pair.far.write(client.tagOut);
    await expect(secure(pair.near, { role: 'client', keys: client })).rejects.toMatchObject({
      code: 'HANDSHAKE_FAILED',
      message: expect.stringContaining('our own path tag') as string,
    });
    expect(pair.near.destroyed).toBe(true);
  });

  it('refuses the tag of another session', async () => {
    const pair = await open(make);
    pair.far.write(randomBytes(16));
    await expect(secure(pair.near, { role: 'server', keys: pairOfKeys().server })).rejects.toMatchObject({
      code: 'HANDSHAKE_FAILED',
    });
  });

  it('takes a tag and a ClientHello that came long before the server attached', async () => {
    const pair = await open(make);
    const keys = pairOfKeys();
    const client = secure(pair.near, { role: 'client', keys: keys.client });
    await new Promise((resolve) => setTimeout(resolve, 150));
    const tag = await readTag(pair.far);
    expect(Buffer.from(tag)).toEqual(keys.client.tagOut);
    await new Promise((resolve) => setTimeout(resolve, 50));
    const server = secure(pair.far, { role: 'server', keys: keys.server, tag });
    (await client).write('early');
    expect(String((await once(await server, 'data'))[0])).toBe('early');
  });

  it('lets the acceptor of the pipe be the TLS client', async () => {
    const pair = await open(make);
    const keys = pairOfKeys();
    const server = secure(pair.near, { role: 'server', keys: keys.server });
    const client = secure(pair.far, { role: 'client', keys: keys.client, tag: await readTag(pair.far) });
    (await server).write('from the dialler');
    expect(String((await once(await client, 'data'))[0])).toBe('from the dialler');
  });

  it('carries 64 MiB unchanged', async () => {
    const { client, server } = await bothSecure(await open(make));
    const arrived = new Promise<string>((resolve) => {
      const hash = createHash('sha256');
      let bytes = 0;
      server.on('data', (chunk: Buffer) => {
        hash.update(chunk);
        bytes += chunk.length;
        if (bytes === 64 * MIB) resolve(hash.digest('hex'));
      });
    });
    const block = randomBytes(MIB);
    const sent = createHash('sha256');
    for (let index = 0; index < 64; index++) {
      block.writeUInt32BE(index);
      const copy = Buffer.from(block);
      sent.update(copy);
      if (!client.write(copy)) await once(client, 'drain');
    }
    expect(await arrived).toBe(sent.digest('hex'));
  });

  it.runIf(halfClose)('lets either direction end alone', async () => {
    for (const first of ['client', 'server'] as const) {
      const ends = await bothSecure(await open(make));
      const [early, late] = first === 'client' ? [ends.client, ends.server] : [ends.server, ends.client];
      const heard = collect(late);
      early.end('question');
      expect(String(await heard)).toBe('question');
      const answer = randomBytes(3 * MIB);
      const hash = digest(early);
      late.end(answer);
      expect(await hash).toBe(createHash('sha256').update(answer).digest('hex'));
    }
  });
});

describe('securing a path', () => {
  it('sends tag and ClientHello in one chunk where TLS does not own the socket', async () => {
    const pair = await open(memoryPair);
    const { client } = pairOfKeys();
    const attempt = secure(pair.near, { role: 'client', keys: client });
    const [flight] = (await once(pair.far, 'data')) as [Buffer];
    expect(flight.subarray(0, 16)).toEqual(client.tagOut);
    expect(flight[16]).toBe(22); // a TLS handshake record
    pair.near.destroy();
    await expect(attempt).rejects.toMatchObject({ code: 'HANDSHAKE_FAILED' });
  });

  it('gives TLS the bytes that were read with the tag and put back', async () => {
    const pair = await open(tcpPair);
    const keys = pairOfKeys();
    pair.far.pause();
    const client = secure(pair.near, { role: 'client', keys: keys.client });
    const [head] = (await once(pair.far.resume(), 'data')) as [Buffer];
    pair.far.pause();
    pair.far.unshift(head);
    const server = secure(pair.far, { role: 'server', keys: keys.server });
    (await client).write('hello');
    expect(String((await once(await server, 'data'))[0])).toBe('hello');
  });

  it('takes a tag that comes in pieces, the first before TLS attaches', async () => {
    const pair = await open(memoryPair);
    const keys = pairOfKeys();
    pair.far.write(keys.server.tagOut.subarray(0, 5));
    await new Promise((resolve) => setTimeout(resolve, 10));
    const client = secure(pair.near, { role: 'client', keys: keys.client });
    const rest = { ...keys.server, tagOut: keys.server.tagOut.subarray(5) };
    (await secure(pair.far, { role: 'server', keys: rest })).write('hello');
    expect(String((await once(await client, 'data'))[0])).toBe('hello');
  });

  it('does not let a ticket stand in for the key', async () => {
    const keys = pairOfKeys();
    const first = await bothSecure(await open(tcpPair), keys);
    let session: Buffer | undefined;
    first.client.on('session', (ticket: Buffer) => (session = ticket));
    first.client.resume();
    first.server.write('x');
    await new Promise((resolve) => setTimeout(resolve, 50));

    const pair = await open(tcpPair);
    const server = secure(pair.far, { role: 'server', keys: keys.server });
    pair.near.write(keys.client.tagOut);
    await readTag(pair.near);
    const context = { minVersion: 'TLSv1.3', ciphers: 'TLS_AES_128_GCM_SHA256' } as const;
    const thief = connect({
      socket: pair.near,
      ...context,
      ca: [],
      session,
      checkServerIdentity: () => undefined,
    });
    thief.on('error', () => {});
    await expect(server).rejects.toMatchObject({ code: 'HANDSHAKE_FAILED' });
  });

  it('does not let a certificate stand in for the key', async () => {
    const keys = pairOfKeys();
    const pair = await open(tcpPair);
    const client = secure(pair.near, { role: 'client', keys: keys.client });
    pair.far.write(keys.server.tagOut);
    await readTag(pair.far);
    const impostor = new TLSSocket(pair.far, {
      isServer: true,
      secureContext: createSecureContext(CERTIFICATE),
    });
    impostor.on('error', () => {});
    await expect(client).rejects.toMatchObject({ code: 'HANDSHAKE_FAILED' });
  });

  it('refuses more than 4 KiB before authentication', async () => {
    const pair = await open(tcpPair);
    pair.far.write(Buffer.alloc(8_000));
    await new Promise((resolve) => setTimeout(resolve, 50));
    await expect(readTag(pair.near)).rejects.toMatchObject({ code: 'HANDSHAKE_FAILED' });
  });

  it.each(['the path tag', 'the TLS handshake'])('gives up waiting for %s after its time', async (step) => {
    const pair = await open(tcpPair);
    const keys = pairOfKeys();
    if (step === 'the TLS handshake') pair.far.write(keys.server.tagOut);
    const attempt = secure(pair.near, { role: 'client', keys: keys.client, timeoutMs: 80 });
    await expect(attempt).rejects.toMatchObject({
      code: 'TIMEOUT',
      message: expect.stringContaining(step) as string,
    });
    expect(pair.near.destroyed).toBe(true);
  });

  it('stops when it is aborted', async () => {
    const pair = await open(tcpPair);
    const controller = new AbortController();
    const attempt = secure(pair.near, {
      role: 'client',
      keys: pairOfKeys().client,
      signal: controller.signal,
    });
    controller.abort();
    await expect(attempt).rejects.toMatchObject({ code: 'ABORTED' });
  });

  it('fails when the other end goes away', async () => {
    const pair = await open(tcpPair);
    const attempt = secure(pair.near, { role: 'client', keys: pairOfKeys().client });
    pair.far.end();
    await expect(attempt).rejects.toMatchObject({ code: 'HANDSHAKE_FAILED' });
  });
});

const MIB = 1024 * 1024;

/** Self-signed, made for this test alone. */
const CERTIFICATE = {
  key: `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgj3vd7RGBKPBFdUDr
IsEwUjZI0S0HF2MAr6H7oH3KzvuhRANCAATXNEVEnEtp6sH4F9U2+84pNblWgvpc
ST6m/9TisuCgt1zLW9lsuAYK2sPUNbe9ovUjwwWffvOt1TU4fIMddxek
-----END PRIVATE KEY-----`,
  cert: `-----BEGIN CERTIFICATE-----
MIIBfjCCASOgAwIBAgIUFL+MHFSUTCkg9q8ghKgCkm1TyXwwCgYIKoZIzj0EAwIw
EzERMA8GA1UEAwwIaW1wb3N0b3IwIBcNMjYxMTIxMjExODE0WhgPMjEyNjEwMjgy
MTE4MTRaMBMxETAPBgNVBAMMCGltcG9zdG9yMFkwEwYHKoZIzj0CAQYIKoZIzj0D
AQcDQgAE1zRFRJxLaerB+BfVNvvOKTW5VoL6XEk+pv/U4rLgoLdcy1vZbLgGCtrD
1DW3vaL1I8MFn37zrdU1OHyDHXcXpKNTMFEwHQYDVR0OBBYEFL0XuwRfrXpHXCyv
XjZh6vgi6MDmMB8GA1UdIwQYMBaAFL0XuwRfrXpHXCyvXjZh6vgi6MDmMA8GA1Ud
EwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSQAwRgIhAI5jguinx9Nws6YebwZ93Moq
5t/jH3t3uTo1rQiYI4ayAiEAsCFOp2viPpul3rU38wgiL8janoTRzZFqTRMFnNkA
N6M=
-----END CERTIFICATE-----`,
};
