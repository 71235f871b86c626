import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { fileURLToPath } from 'node:url';
import { labSupport } from './lab.ts';
import { Scenario } from './scenario.ts';

const support = await labSupport();
const SENT = 400;

/** Forwards datagrams through two NATs that lose one packet in twenty, and has them echoed. */
async function asked(paths: string): Promise<{ returned: number; twice: number; median: number }> {
  const scenario = await Scenario.start({
    a: 'ei/apd',
    b: 'ei/apd',
    delayMs: 10,
    lossPercent: 5,
    seed: 1,
    expose: ['any'],
  });
  try {
    const port = await scenario.program('b', 'udp-echo.mjs');
    const connect = scenario.connect('-L', `0:127.0.0.1:${port}/udp`, '--paths', paths);
    const { listen } = await connect.event('forward');
    const child = scenario.lab.hosts.a.spawn(process.execPath, [
      fileURLToPath(new URL('programs/udp-ask.mjs', import.meta.url)),
      String(listen).split(':').at(-1)!,
      String(SENT),
    ]);
    const [line] = (await once(child.stdout!, 'data')) as [Buffer];
    return JSON.parse(line.toString()) as Awaited<ReturnType<typeof asked>>;
  } finally {
    await scenario.close();
  }
}

describe.skipIf(!support.ok)('forwarded datagrams, where packets are lost', () => {
  it('are lost with them on a path by UDP, and none waits for another', async () => {
    const { returned, twice, median } = await asked('udp');
    expect(twice).toBe(0);
    expect(returned).toBeLessThan(SENT);
    expect(returned).toBeGreaterThan(SENT / 2);
    expect(median).toBeLessThan(400);
  });

  it('all arrive through the relay, which is reliable', async () => {
    expect(await asked('relay')).toMatchObject({ returned: SENT, twice: 0 });
  });
});
