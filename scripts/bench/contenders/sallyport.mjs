// This project, as its users run it: two peers and a rendezvous with its relay, each in a process of its own.
import { compileAtOnce } from '../../../dist/src/cli/compile.js';
import { keepFreedMemory } from '../../../dist/src/cli/freed-memory.js';
import { collectSeldom } from '../../../dist/src/cli/heap.js';
import { Peer, Rendezvous } from '../../../dist/src/index.js';
import { temporaryFolder } from '../temporary.mjs';
import { HOST, wireOf } from '../wire.mjs';

// As the commands do all three once they are up (src/cli/once-up.ts); what is measured here comes after the start.
collectSeldom();
keepFreedMemory();

const home = temporaryFolder();

/** @typedef {'tcp' | 'udp' | 'relay-h1' | 'relay-h2' | 'relay-ws'} Variant the only kind of path that is allowed */

export async function middle() {
  const rendezvous = await Rendezvous.start({ listen: `${HOST}:0`, insecure: true, open: true, home });
  compileAtOnce();
  return rendezvous.url;
}

export async function listen(rendezvous, _variant, onWire) {
  const peer = await Peer.start({ home, rendezvous, allow: ['any'] });
  compileAtOnce();
  peer.handle('bench', (stream) => onWire(wireOf(stream)));
  return peer.id;
}

export async function dial(id, rendezvous, variant) {
  const peer = await Peer.start({ home, rendezvous });
  compileAtOnce();
  return async () => {
    const session = await peer.connect(id, { paths: [variant] });
    const stream = await session.open('bench');
    if (session.path !== undefined && session.path.kind !== variant)
      throw new Error(`asked for a path by ${variant}, got ${session.path.kind}`);
    const another = async () => wireOf(await session.open('bench'));
    return { ...wireOf(stream, () => session.close()), another };
  };
}
