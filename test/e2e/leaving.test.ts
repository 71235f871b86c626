import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { expect, it } from 'vitest';
import { staged, upPeer } from './plain.ts';

it(
  'a peer that is told to stop does so, whoever goes on sending to it',
  { timeout: 60_000 },
  staged(async (stage) => {
    const target = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => {});
      socket.resume().end('answered');
    });
    await once(target.listen(0, '127.0.0.1'), 'listening');
    const { url } = await stage.rendezvous();
    const exposed = `sink=127.0.0.1:${(target.address() as AddressInfo).port}`;
    const { id, up } = await upPeer(stage, url, '--expose', exposed);
    const alice = stage.peer('alice', 'connect', id, '-W', 'sink', '--rendezvous', url);
    const sending = setInterval(() => alice.child.stdin!.write('and another thing'), 500);
    await once(alice.child.stdout!, 'data');
    expect(await up.stop()).toMatchObject({ status: 0 });
    clearInterval(sending);
    target.close();
  }),
);
