// Calls with answers: one stream for each call, a line of JSON each way. Failures come back with their code.
import { text } from 'node:stream/consumers';
import { Peer, Rendezvous } from 'sallyport';

const rendezvous = await Rendezvous.start({ listen: '127.0.0.1:0', insecure: true, open: true });

/** Plain `for await` would destroy the stream at the end of what comes in, and with it the way back. */
async function request(stream) {
  let read = '';
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) read += chunk;
  return read;
}

const procedures = {
  add: ({ a, b }) => a + b,
  divide: ({ a, b }) => {
    if (b === 0) throw new Error('division by zero');
    return a / b;
  },
};
const bob = await Peer.start({ home: 'bob', rendezvous: rendezvous.url, allow: ['any'] });
bob.handle('rpc', async (stream) => {
  try {
    const { name, input } = JSON.parse(await request(stream));
    stream.end(JSON.stringify(await procedures[name](input)));
  } catch (error) {
    stream.reset('STREAM_RESET', error.message);
  }
});

const alice = await Peer.start({ home: 'alice', rendezvous: rendezvous.url });
const session = await alice.connect(bob.id);

async function call(name, input, { signal = AbortSignal.timeout(10_000) } = {}) {
  const stream = await session.open('rpc', { signal });
  stream.end(JSON.stringify({ name, input }));
  return JSON.parse(await text(stream));
}

console.log(await Promise.all([call('add', { a: 1, b: 2 }), call('add', { a: 30, b: 4 })]));
await call('divide', { a: 1, b: 0 }).catch(({ code, message }) => console.log(`${code}: ${message}`));

await alice.close();
await bob.close();
await rendezvous.close();
