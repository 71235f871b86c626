// This project, as its users run it: two peers and a rendezvous with its relay, each in a process of its own. Each is set up as the
// commands are once they are up, since what is measured comes after the start.
import { tune } from '../../../dist/src/cli/once-up.js';
import { Peer, Rendezvous } from '../../../dist/src/index.js';
import { TemporaryFolder } from '../../../test/netns/temporary-folder.mjs';
import { HOST, wireOf } from '../wire.mjs';

const home = new TemporaryFolder('bench').path;

/** @typedef {'tcp' | 'udp' | 'relay-h1' | 'relay-h2' | 'relay-ws' | 'any'} Variant the only kind of path that is allowed */

export async function middle() {
  const rendezvous = await Rendezvous.start({ listen: `${HOST}:0`, insecure: true, open: true, home });
  tune();
  return rendezvous.url;
}

export async function listen(rendezvous, _variant, onWire) {
  const peer = await Peer.start({ home, rendezvous, allow: ['any'] });
  tune();
  peer.handle('bench', (stream) => onWire(wireOf(stream)));
  return peer.id;
}

export async function dial(id, rendezvous, variant) {
  const peer = await Peer.start({ home, rendezvous });
  tune();
  return async () => {
    const session = await peer.connect(id, variant === 'any' ? {} : { paths: [variant] });
    const stream = await session.open('bench');
    if (variant !== 'any' && session.path !== undefined && session.path.kind !== variant)
      throw new Error(`asked for a path by ${variant}, got ${session.path.kind}`);
    const another = async () => wireOf(await session.open('bench'));
    return { ...wireOf(stream, () => session.close()), another };
  };
}
