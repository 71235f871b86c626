import { once } from 'node:events';
import { connect, type AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { WebSocketServer } from 'ws';
import { upgrade } from '../../src/net/websocket-client.ts';

const TIMEOUT_MS = 2_000;

it('stays for longer than its upgrade may take', async () => {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const url = new URL(`http://127.0.0.1:${port}`);
  const socket = upgrade(connect(port, '127.0.0.1'), url, TIMEOUT_MS, { maxPayload: 100 });
  await once(socket, 'open');
  await sleep(TIMEOUT_MS + 100);
  expect(socket.readyState).toBe(socket.OPEN);
  socket.terminate();
  server.close();
});
