// Lets plain node run this repository's TypeScript: node --import ./scripts/ts.mjs <file.ts>
// ts-node only strips types here (`transpileOnly` in tsconfig.json); checking is `npm run check`.
import { register } from 'node:module';

process.setSourceMapsEnabled(true);
register('ts-node/esm', import.meta.url);
