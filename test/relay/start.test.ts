import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { RelayServer } from '../../relay/server.ts';
import { TestDeployment } from '../rendezvous/deployment.ts';

let deployment: TestDeployment;
beforeEach(async () => void (deployment = await TestDeployment.start()));
afterEach(() => deployment.close());

/** Sockets for UDP and TCP listeners that this process has open. */
function openPorts(): string[] {
  return process.getActiveResourcesInfo().filter((kind) => kind === 'UDPWrap' || kind === 'TCPServerWrap');
}

it('a relay that can’t start leaves nothing open', async () => {
  const before = openPorts();
  const starting = RelayServer.start({
    rendezvous: deployment.server.joinUrl,
    listen: '127.0.0.1:0',
    insecure: true,
    stunPort: 0,
    home: join(deployment.home, 'relay'),
    tokenFile: join(deployment.home, 'missing'),
  });
  await expect(starting).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  expect(openPorts()).toEqual(before);
});
