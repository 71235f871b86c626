import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { LabHost } from './host.ts';

const program = fileURLToPath(new URL('programs/foreign.mjs', import.meta.url));

/**
 * Other computers behind a NAT: from `router`'s inside address, new UDP flows and as many new TCP flows a second to a
 * server, at random times, so that the NAT allocates ports meanwhile. Ends with the lab.
 */
export async function startForeignTraffic(router: LabHost, perSecond: number, server: string): Promise<void> {
  const child = router.spawn(process.execPath, [program, String(perSecond), router.address, server]);
  await once(child.stdout!, 'data');
}
