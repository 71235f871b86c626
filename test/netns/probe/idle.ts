/** Makes a lab with something running in it, prints the process ids of both, and waits to be killed. */
import { Lab } from '../lab.ts';

const lab = await Lab.create({ a: 'ei/apd', b: 'ei/apd', delayMs: 1 });
const sleepers = [lab.hosts.a, lab.hosts.relay].map((host) => host.spawn('sleep', ['600']));
await new Promise((resolve) => setTimeout(resolve, 200));
console.log(sleepers.map(({ pid }) => pid).join(' '));
