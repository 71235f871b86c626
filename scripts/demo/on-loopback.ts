import { Stage } from '../../test/e2e/commands.ts';
import { traverse } from '../../test/core/punch/traversal.ts';
import type { Narrator } from './narrator.ts';

/** Where namespaces can't be had: the NATs are simulated, the commands are real and talk over loopback. */
export async function tellOnLoopback(narrator: Narrator, reason: string): Promise<void> {
  narrator.chapter('No network namespaces here');
  narrator.say(`${reason}: the NATs below are simulated, and the commands talk over loopback`);

  narrator.chapter('Two NATs on a simulated internet');
  for (const [a, b] of [
    ['ei/apd', 'ei/apd'],
    ['ei/ei', 'apd/apd-random'],
    ['apd/apd-random', 'apd/apd-random'],
  ] as const) {
    const report = traverse({ a, b, seed: 1 });
    narrator.say(`${a} × ${b}: ${JSON.stringify(report.a)}`, { a, b, report });
  }

  narrator.chapter('A session on loopback');
  const stage = new Stage();
  try {
    const { url } = await stage.rendezvous();
    const id = await stage.id('bob');
    const up = stage.peer('bob', 'up', '--rendezvous', url, '--allow', 'any', '--pipe');
    await up.event('registered');
    const connect = stage.peer('alice', 'connect', id, '--rendezvous', url, '--explain');
    const direct = await connect.event(
      'path',
      (event) => event['direct'] === true && event['state'] === 'up',
    );
    narrator.check(true, `direct by ${String(direct['kind'])}, ${String(direct['technique'])}`, {
      kind: direct['kind'],
    });
    connect.child.stdin!.end('hello from alice');
    up.child.stdin!.end();
    const [{ status }, bob] = await Promise.all([connect.ended, up.ended]);
    narrator.check(
      status === 0 && bob.stdout.toString() === 'hello from alice',
      `bob read: ${bob.stdout.toString()}`,
    );
  } finally {
    await stage.close();
  }
}
