// npm run demo [-- --json]
// The main job, told in words: two LANs behind two NATs meet, first over a relay, then directly.
import { Narrator } from './demo/narrator.ts';
import { tellOnLoopback } from './demo/on-loopback.ts';
import { tellOnRealNats } from './demo/on-real-nats.ts';
import { asSallyportError } from '../src/core/errors.ts';
import { labSupport } from '../test/netns/lab.ts';

// Whoever has read enough: `npm run demo | head`.
process.stdout.on('error', () => process.exit());
const narrator = new Narrator(process.argv.includes('--json'));
const support = await labSupport();
try {
  if (support.ok) await tellOnRealNats(narrator);
  else await tellOnLoopback(narrator, support.reason);
  process.exitCode = narrator.conclude();
} catch (thrown) {
  narrator.failed(asSallyportError(thrown).message);
  process.exitCode = 1;
}
process.exit();
