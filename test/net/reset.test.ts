import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { forsake, resetConnection } from '../../src/net/reset.ts';

describe.each([
  ['resetConnection', resetConnection],
  ['forsake', forsake],
])('%s', (_name, reset) => {
  let server: Server;
  let near: Socket;
  let far: Socket;

  beforeEach(async () => {
    server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    far = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    far.on('error', () => {});
    [near] = (await once(server, 'connection')) as [Socket];
  });

  afterEach(() => {
    far.destroy();
    near.destroy();
    server.close();
  });

  it('tells the other end that the connection broke off', async () => {
    far.resume();
    reset(near);
    const [error] = (await once(far, 'error')) as [NodeJS.ErrnoException];
    expect(error.code).toBe('ECONNRESET');
  });

  it('closes a connection whose end is on its way to the kernel', async () => {
    near.end();
    await new Promise<void>((resolve) => process.nextTick(resolve));
    reset(near);
    await once(near, 'close');
    expect(near.errored).toBeNull();
  });

  it('does not wait for what the other end never reads', async () => {
    far.pause();
    near.write(Buffer.alloc(16 * 1024 * 1024));
    near.end();
    reset(near);
    await once(near, 'close');
    expect(near.writableFinished).toBe(false);
  });
});
