// A folder that others may drop files into. `peer send` and `peer receive` do this with resuming, folders and progress.
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { Peer, Rendezvous } from 'sallyport';

const rendezvous = await Rendezvous.start({ listen: '127.0.0.1:0', insecure: true, open: true });
await mkdir('drop', { recursive: true });

let dropped = 0;
const bob = await Peer.start({ home: 'bob', rendezvous: rendezvous.url, allow: ['any'] });
bob.handle('drop', async (stream) => {
  // The name is ours, so that nobody writes anywhere else; and it is there only once the file is whole.
  const name = `drop/${(dropped += 1)}`;
  try {
    await pipeline(stream, createWriteStream(`${name}.part`), { end: true });
    await rename(`${name}.part`, name);
    stream.end('thanks');
  } catch (error) {
    stream.destroy(error);
  }
});

const alice = await Peer.start({ home: 'alice', rendezvous: rendezvous.url });
const session = await alice.connect(bob.id);
await writeFile('letter', 'dear bob');
const stream = await session.open('drop');
createReadStream('letter').pipe(stream);
for await (const answer of stream) console.log(`bob says ${answer}`);
console.log(`bob has: ${await readFile('drop/1', 'utf8')}`);

await alice.close();
await bob.close();
await rendezvous.close();
