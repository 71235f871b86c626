/**
 * One process of one contender: `process.mjs <job as JSON>`, started by contender.ts, which it talks to by messages.
 *
 * A contender is a module with these, of which `middle` may be missing:
 *   middle(variant)                       what stands between the two; resolves with an address of its own making
 *   listen(middle, variant, onWire)       calls `onWire` for each wire that comes; resolves with its address
 *   dial(address, middle, variant)        resolves with a `connect` that makes a Wire each time
 */
import { pathToFileURL } from 'node:url';
import { exercises } from './exercises.mjs';

const { module, role, variant, exercise, parameters, middle, address } = JSON.parse(process.argv[2]);
const contender = await import(pathToFileURL(module).href);
const { dial, accept } = exercises[exercise];
const say = (said) => process.send(said);

const roles = {
  middle: () => contender.middle(variant),
  listen: () => contender.listen(middle, variant, (wire) => accept(wire, parameters, say)),
  dial: async () => {
    const connect = await contender.dial(address, middle, variant);
    process.once('message', () => void measure(connect));
  },
};

process.on('disconnect', () => process.exit());
say({ ready: (await roles[role]()) ?? null });

async function measure(connect) {
  const began = () => say({ began: true });
  const result = await dial({ connect }, { ...parameters, began });
  const said = typeof result === 'number' ? { seconds: result } : result;
  for (const [kind, value] of Object.entries(said)) say({ [kind]: value });
}
