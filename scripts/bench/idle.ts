/** What `peer up` takes while nobody wants anything of it: `idle.ts [seconds]`. Prints one JSON object with figures. */
import { setTimeout as pause } from 'node:timers/promises';
import { Stage } from '../../test/e2e/commands.ts';
import { processorTime, residentMiB } from './procfs.ts';

const seconds = Number(process.argv[2] ?? 60);
/** Discovery, and what follows it. */
const SETTLE_MS = 10_000;
const stage = new Stage();
try {
  const rendezvous = await stage.rendezvous();
  const up = stage.peer('up', 'up', '--rendezvous', rendezvous.join);
  await up.event('registered');
  await pause(SETTLE_MS);
  const pid = up.child.pid!;
  const before = processorTime(pid)!;
  await pause(seconds * 1000);
  const share = (100 * (processorTime(pid)! - before)) / seconds;
  const figures = [
    { name: '`peer up` idle, resident MiB', value: residentMiB(pid), atMost: 70 },
    { name: '`peer up` idle, per cent of a core', value: share, atMost: 0.5 },
  ];
  process.stdout.write(`${JSON.stringify({ seconds, figures })}\n`);
} finally {
  await stage.close();
}
