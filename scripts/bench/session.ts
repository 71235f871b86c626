/**
 * One stream over loopback TLS 1.3 (PSK, AES-128-GCM), both ends in one process: bare, and through a session.
 * Prints one JSON object with the medians of alternating rounds. `node --import ./scripts/ts.mjs scripts/bench/session.ts [MiB] [rounds]`
 */
import { once } from 'node:events';
import net from 'node:net';
import tls from 'node:tls';
import type { Duplex } from 'node:stream';
import { SessionDriver } from '../../src/net/session-driver.ts';

const MIB = 1024 * 1024;
const total = Number(process.argv[2] ?? 512) * MIB;
const rounds = Number(process.argv[3] ?? 5);
const chunk = Buffer.alloc(64 * 1024 - 32, 0x5a);

async function tlsPair(): Promise<{ client: tls.TLSSocket; server: tls.TLSSocket; close: () => void }> {
  const psk = Buffer.alloc(32, 1);
  const shared = { ciphers: 'TLS_AES_128_GCM_SHA256', minVersion: 'TLSv1.3' } as const;
  // Node takes pskCallback here as well, its type does not say so.
  const serverOptions: tls.TlsOptions & tls.TLSSocketOptions = {
    ...shared,
    isServer: true,
    pskCallback: () => psk,
  };
  const listener = net.createServer({ allowHalfOpen: true, noDelay: true }).listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address() as net.AddressInfo;
  const raw = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
  const [accepted] = (await once(listener, 'connection')) as [net.Socket];
  const server = new tls.TLSSocket(accepted, serverOptions);
  const client = tls.connect({
    ...shared,
    socket: raw,
    pskCallback: () => ({ psk, identity: 'bench' }),
    checkServerIdentity: () => undefined,
  });
  await once(client, 'secureConnect');
  return { client, server, close: () => listener.close() };
}

/** Writes `total` bytes into one end and counts them out of the other; bytes per second. */
async function pump(from: Duplex, to: Duplex): Promise<number> {
  const started = performance.now();
  let received = 0;
  const done = new Promise<void>((resolve) => {
    to.on('data', (bytes: Buffer) => {
      received += bytes.length;
      if (received >= total) resolve();
    });
  });
  for (let sent = 0; sent < total; sent += chunk.length) {
    if (!from.write(chunk)) await once(from, 'drain');
  }
  await done;
  return total / ((performance.now() - started) / 1000);
}

async function bare(): Promise<number> {
  const { client, server, close } = await tlsPair();
  const rate = await pump(client, server);
  client.destroy();
  server.destroy();
  close();
  return rate;
}

async function session(): Promise<number> {
  const { client, server, close } = await tlsPair();
  const sessionId = Buffer.alloc(16, 3);
  const initiator = new SessionDriver({ role: 'initiator', sessionId });
  const responder = new SessionDriver({ role: 'responder', sessionId });
  initiator.addPath({ kind: 'tcp', direct: true }, client);
  responder.addPath({ kind: 'tcp', direct: true }, server);
  const opened = once(responder, 'stream');
  const from = initiator.open(Buffer.from('bench'));
  const [to] = (await opened) as [Duplex];
  const rate = await pump(from, to);
  to.on('error', () => {});
  from.on('error', () => {}).destroy();
  await initiator.close();
  close();
  return rate;
}

const rates: Record<'bare' | 'session', number[]> = { bare: [], session: [] };
await bare();
await session();
for (let round = 0; round < rounds; round += 1) {
  rates.bare.push(await bare());
  rates.session.push(await session());
}
const median = (values: number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1]!;
const gbits = (values: number[]): number => Number(((median(values) * 8) / 1e9).toFixed(2));
const ratio = Number((median(rates.session) / median(rates.bare)).toFixed(3));
const summary = { bareGbit: gbits(rates.bare), sessionGbit: gbits(rates.session), ratio };
console.log(JSON.stringify({ mib: total / MIB, rounds, ...summary }));
