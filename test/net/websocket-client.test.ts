import { once } from 'node:events';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { WebSocketServer } from 'ws';
import { MessageChannel } from '../../src/net/message-channel.ts';
import { upgrade } from '../../src/net/websocket-client.ts';
import { WebSocketPipe } from '../../src/net/websocket-pipe.ts';

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

/** Breaks the rules when it is connected to, and closes nothing. */
async function ruleBreaker(): Promise<{ url: URL; dial: () => Socket; close: () => void }> {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
  await once(server, 'listening');
  server.on('connection', (webSocket, { socket }) => {
    webSocket.on('error', () => undefined);
    socket.removeAllListeners('data').removeAllListeners('end').resume();
    socket.write(Buffer.from([0x83, 0])); // a frame of no known kind (RFC 6455 §5.2)
  });
  const { port } = server.address() as AddressInfo;
  const close = () => {
    for (const client of server.clients) client.terminate();
    server.close();
  };
  return { url: new URL(`http://127.0.0.1:${port}`), dial: () => connect(port, '127.0.0.1'), close };
}

it('ends at once where the other end breaks the rules and stays', async () => {
  const { url, dial, close } = await ruleBreaker();
  const channel = await MessageChannel.open(dial(), url, TIMEOUT_MS);
  await expect(channel.receive(4 * TIMEOUT_MS)).rejects.toMatchObject({ code: 'RENDEZVOUS_UNREACHABLE' });
  const pipe = new WebSocketPipe(upgrade(dial(), url, TIMEOUT_MS, { maxPayload: 100 }));
  await once(pipe, 'close', { signal: AbortSignal.timeout(4 * TIMEOUT_MS) });
  close();
}, 30_000);
