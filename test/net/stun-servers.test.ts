import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Endpoint } from '../../src/core/endpoint.ts';
import { decodeStun, encodeStun } from '../../src/core/stun/message.ts';
import { systemClock } from '../../src/net/clock.ts';
import { findStunServers } from '../../src/net/stun-servers.ts';
import { UdpSocket } from '../../src/net/udx.ts';

let other: Endpoint;
let stunServer: Socket;
let port: number;
beforeEach(async () => {
  stunServer = createSocket('udp4');
  stunServer.on('message', (bytes, from) => {
    const { transactionId } = decodeStun(bytes);
    const mapped = { address: from.address, port: from.port };
    stunServer.send(encodeStun({ class: 'success', transactionId, mapped, other }), from.port, from.address);
  });
  stunServer.bind(0, '127.0.0.1');
  await once(stunServer, 'listening');
  port = stunServer.address().port;
});
afterEach(() => stunServer.close());

const openFresh = async () => UdpSocket.open({ host: '127.0.0.1', port: 0 });
const find = () => findStunServers([`127.0.0.1:${port}`], { openFresh, clock: systemClock });

it('a STUN server names its other address and port, and all four endpoints are asked', async () => {
  other = { address: '127.0.0.2', port: 9 };
  const server = { address: '127.0.0.1', port };
  const servers = [server, { ...server, port: 9 }, { ...other, port }, other];
  expect(await find()).toEqual({ udp: servers, tcp: servers, canChangeOrigin: true });
});

it.each(['192.168.1.1', '203.0.113.9', '169.254.169.254'])(
  'a STUN server can have no host asked that belongs to another kind of network: %s',
  async (address) => {
    other = { address, port: 9 };
    const server = { address: '127.0.0.1', port };
    const servers = [server, { ...server, port: 9 }];
    expect(await find()).toEqual({ udp: servers, tcp: servers, canChangeOrigin: true });
  },
);
