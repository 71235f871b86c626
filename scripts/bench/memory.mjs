/**
 * What idle things hold, against what they are made of: `memory.mjs`. Each subject gets a process of its own, this program once
 * more, which makes some first, then many, and tells how much its resident memory has grown for each. What it talks to is in the
 * parent. Prints one JSON object with figures, in bytes.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { Session as Inspector } from 'node:inspector/promises';
import { mkdtempSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { Peer, Rendezvous } from '../../dist/src/index.js';
import { TemporaryFolder } from '../../test/netns/temporary-folder.mjs';

const inspector = new Inspector();
inspector.connect();
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const homes = new TemporaryFolder('bench').path;
const temporary = () => mkdtempSync(join(homes, 'home-'));

const PSK = {
  ciphers: 'TLS_AES_128_GCM_SHA256',
  minVersion: 'TLSv1.3',
  pskCallback: () => ({ psk: Buffer.alloc(32, 1), identity: 'bench' }),
  checkServerIdentity: () => undefined,
};
/** A peer takes some sessions of one other, no more. */
const PEERS = 10;
const held = []; // or it would be collected

/** Each makes one more of its kind: `make(what the parent said)` returns a function that does. */
const SUBJECTS = {
  /** What a session runs on at the least: one connection by the relay, one straight. */
  'two TLS connections': {
    some: 100,
    many: 300,
    make:
      ({ tls }) =>
      async () => {
        for (let each = 0; each < 2; each += 1)
          await once(hold(connectTls({ port: tls, ...PSK })), 'secureConnect');
      },
  },
  /** Many first: what V8 compiles and learns in the first hundred stays, and is no session's. */
  session: {
    some: 100,
    many: 300,
    async make({ rendezvous, ids }) {
      const peer = await Peer.start({ home: temporary(), rendezvous });
      return async () => {
        const id = ids[held.length % ids.length]; // offers to one peer are counted
        await hold(await peer.connect(id, { paths: ['tcp', 'relay'] })).whenDirect();
        await pause(110); // so are look-ups: ten a second
      };
    },
  },
  stream: {
    some: 500,
    many: 3500,
    async make({ rendezvous, ids: [id] }) {
      const peer = await Peer.start({ home: temporary(), rendezvous });
      const session = await peer.connect(id, { paths: ['tcp'] });
      return async () => hold(await session.open('idle'));
    },
  },
  socket: {
    some: 500,
    many: 2500,
    make:
      ({ target }) =>
      async () =>
        once(hold(connect(target, '127.0.0.1')), 'connect'),
  },
  /** At the end that dials the target; the parent opens the streams. */
  'forwarded connection': {
    some: 500,
    many: 2500,
    async make({ rendezvous, target }) {
      const peer = await Peer.start({ home: temporary(), rendezvous, allow: ['any'] });
      peer.expose('target', `127.0.0.1:${target}`);
      return async () => {
        process.send({ open: peer.id });
        await once(process, 'message');
      };
    },
  },
};

function hold(thing) {
  thing.on('error', () => {});
  held.push(thing);
  return thing;
}

if (process.send) await measure(process.argv[2]);
else await compare();

async function measure(name) {
  const { some, many, make } = SUBJECTS[name];
  process.on('disconnect', () => process.exit());
  const [places] = await once(process, 'message');
  const one = await make(places);
  for (let count = 0; count < some; count += 1) await one();
  const before = await settled();
  for (let count = 0; count < many; count += 1) await one();
  process.send({ bytes: ((await settled()) - before) / many });
}

/** Resident bytes, once everything has become quiet: a round of punching is let go after 6 s. */
async function settled() {
  for (let round = 0; round < 10; round += 1) {
    await pause(700);
    await inspector.post('HeapProfiler.collectGarbage'); // gives emptied pages back as well, which `gc()` does not
  }
  return process.memoryUsage.rss();
}

async function compare() {
  const { url } = await Rendezvous.start({
    listen: '127.0.0.1:0',
    insecure: true,
    open: true,
    home: temporary(),
  });
  const ids = [];
  for (let count = 0; count < PEERS; count += 1) {
    const peer = await Peer.start({ home: temporary(), rendezvous: url, allow: ['any'] });
    peer.handle('idle', (stream) => void hold(stream));
    ids.push(peer.id);
  }
  const places = {
    rendezvous: url,
    ids,
    tls: await listening(createTlsServer(PSK)),
    target: await listening(createServer()),
  };
  const bytes = {};
  for (const name of Object.keys(SUBJECTS)) bytes[name] = await grown(name, places);
  const figures = [
    {
      name: 'session, of two TLS connections',
      value: bytes.session / bytes['two TLS connections'],
      atMost: 1.3,
    },
    { name: 'stream, bytes', value: bytes.stream, atMost: 2048 },
    {
      name: 'forwarded connection, of 1.3 sockets and 2 KiB',
      value: bytes['forwarded connection'] / (1.3 * bytes.socket + 2048),
      atMost: 1,
    },
  ];
  process.stdout.write(`${JSON.stringify({ bytes, figures })}\n`);
  process.exit();
}

async function listening(server) {
  server.on('connection', hold).on('tlsClientError', () => {});
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return server.address().port;
}

async function grown(name, places) {
  const child = fork(fileURLToPath(import.meta.url), [name], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  let session;
  const grew = new Promise((resolve, reject) => {
    child.on('exit', (status) => reject(new Error(`${name}: ended with status ${status}`)));
    child.on('message', async ({ bytes, open }) => {
      if (bytes !== undefined) return resolve(bytes);
      session ??= await opener.connect(open, { paths: ['tcp'] });
      hold(await session.open('target'));
      child.send({});
    });
  });
  child.send(places);
  const opener = await Peer.start({ home: temporary(), rendezvous: places.rendezvous });
  const result = await grew;
  child.removeAllListeners('exit');
  child.disconnect();
  await opener.close();
  return Math.round(result);
}
