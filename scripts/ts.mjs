// Lets plain node run this repository's TypeScript: node --import ./scripts/ts.mjs <file.ts>
// Node itself strips types from 22.18 on. Before, ts-node does, and nothing else (`transpileOnly` in tsconfig.json);
// checking is `npm run check`.
import { register } from 'node:module';

process.setSourceMapsEnabled(true);
if (!process.features.typescript) register('ts-node/esm', import.meta.url);
