// Lets plain node run this repository's TypeScript: node --import ./scripts/ts.mjs <file.ts>
// Node itself strips types from 22.18 on; before that, the bundler's parser does. Checking is `npm run check`.
import { register } from 'node:module';

process.setSourceMapsEnabled(true);
if (!process.features.typescript) register('./strip-types.mjs', import.meta.url);
