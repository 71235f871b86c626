import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { expect, it } from 'vitest';
import { PromptSocket } from '../../src/net/prompt-socket.ts';

it('closes once it has ended, also where the other end stays', async () => {
  const server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1');
  const accepted = once(server, 'connection');
  await once(server, 'listening');
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const [other] = (await accepted) as [Socket];
  let received = '';
  other.on('data', (chunk: Buffer) => (received += chunk.toString()));
  const prompt = new PromptSocket(socket);
  prompt.end('the last of it');
  await once(prompt, 'close', { signal: AbortSignal.timeout(8_000) });
  expect(socket.destroyed).toBe(true);
  expect(received).toBe('the last of it');
  other.destroy();
  server.close();
}, 20_000);
