import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { afterEach, describe, expect, it } from 'vitest';
import { bindUdp } from '../../peer/services/listener.ts';
import { dialUdpTarget } from '../../peer/services/target.ts';

// What programs send at once has to wait in the kernel while JavaScript is busy.

/** More than Linux lets a socket hold that asks for nothing (208 KiB), less than the least that one may ask for (416). */
const BURST = Array.from({ length: 150 }, () => new Uint8Array(1_400));

const HANG = { timeout: 5_000 };

const sockets: UdpSocket[] = [];
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.close();
});

/** Sends them all before anything can read one; what has arrived so far. */
function burst(from: UdpSocket, to: UdpSocket): Uint8Array[] {
  const arrived: Uint8Array[] = [];
  to.on('message', (bytes) => arrived.push(bytes));
  for (const datagram of BURST) from.send(datagram);
  return arrived;
}

describe('a burst of datagrams arrives whole', () => {
  it('where a forward listens', async () => {
    const listening = await bindUdp({ bind: '127.0.0.1', port: 0 });
    const client = createSocket('udp4');
    sockets.push(listening, client);
    client.connect(listening.address().port, '127.0.0.1');
    await once(client, 'connect');
    const arrived = burst(client, listening);
    await expect.poll(() => arrived.length, HANG).toBe(BURST.length);
  });

  it('from a target', async () => {
    const target = createSocket('udp4').bind(0, '127.0.0.1');
    sockets.push(target);
    await once(target, 'listening');
    const { port } = target.address();
    const dialled = await dialUdpTarget({ via: 'udp', host: '127.0.0.1', port }, true, new PassThrough());
    sockets.push(dialled);
    target.connect(dialled.address().port, '127.0.0.1');
    await once(target, 'connect');
    const arrived = burst(target, dialled);
    await expect.poll(() => arrived.length, HANG).toBe(BURST.length);
  });
});
