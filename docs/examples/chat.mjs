// Two people type, each sees the other's lines. Here both ends are in one process, and say one line each.
import { createInterface } from 'node:readline';
import { Peer, Rendezvous } from 'sallyport';

const rendezvous = await Rendezvous.start({ listen: '127.0.0.1:0', insecure: true, open: true });
const bob = await Peer.start({ home: 'bob', rendezvous: rendezvous.url, allow: ['any'] });
const alice = await Peer.start({ home: 'alice', rendezvous: rendezvous.url });

/** Prints what comes, says what is given, and is over when both have hung up. */
async function chat(name, stream, line) {
  stream.end(`${line}\n`);
  for await (const heard of createInterface({ input: stream })) console.log(`${name} heard: ${heard}`);
}

const answered = new Promise((resolve, reject) => {
  bob.handle('chat', (stream, session) => {
    chat('bob', stream, `hello, ${session.peer === alice.id ? 'alice' : 'stranger'}`).then(resolve, reject);
  });
});
const session = await alice.connect(bob.id);
await chat('alice', await session.open('chat'), 'hello, bob');
await answered;

await alice.close();
await bob.close();
await rendezvous.close();
