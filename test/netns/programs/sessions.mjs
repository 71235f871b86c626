// Connects to a peer several times at once from one process, as the library does, and prints one JSON line of each session once it is
// direct, or has failed to be: {"kind":…,"local":…,"remote":…}, or {"code":…}
//   node sessions.mjs home rendezvous-url peer-id kinds count
import { Peer } from '../../../dist/src/index.js';

const [home, rendezvous, id, kinds, count] = process.argv.slice(2);
const peer = await Peer.start({ home, rendezvous });
for (let number = 0; number < Number(count); number++) {
  const session = await peer.connect(id, { paths: kinds.split(','), acceptName: true });
  const line = await session.whenDirect({ timeout: 15_000 }).then(
    ({ kind, local, remote }) => ({ kind, local, remote }),
    ({ code }) => ({ code }),
  );
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
await peer.close();
