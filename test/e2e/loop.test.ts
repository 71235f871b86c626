import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseEndpoint } from '../../src/core/endpoint.ts';
import { LIMITS } from '../../src/core/limits.ts';
import { Stage } from './commands.ts';

let stage: Stage;
let echo: Server;

beforeEach(async () => {
  stage = new Stage();
  echo = createServer((socket) => socket.on('error', () => {}).pipe(socket)).listen(0, '127.0.0.1');
  await once(echo, 'listening');
});

afterEach(async () => {
  await stage.close();
  echo.close();
});

/** One that nobody listens on. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function ask(socket: Socket, words: string): Promise<string> {
  socket.write(words);
  const [answer] = (await once(socket, 'data')) as [Buffer];
  return answer.toString();
}

describe('a forward that leads back to itself', () => {
  it('is stopped with one line that says so, and everything else goes on', async () => {
    const { url } = await stage.rendezvous();
    const id = await stage.id('bob');
    const port = await freePort();
    const exposed = [`loop=127.0.0.1:${port}`, `echo=127.0.0.1:${(echo.address() as AddressInfo).port}`];
    const up = stage.peer(
      'bob',
      'up',
      '--rendezvous',
      url,
      '--allow',
      'any',
      ...exposed.flatMap((one) => ['--expose', one]),
    );
    await up.event('registered');
    const command = stage.peer(
      'alice',
      'connect',
      id,
      '-L',
      `${port}:loop`,
      '-L',
      '0:echo',
      '--rendezvous',
      url,
    );
    const { listen } = await command.event('forward', ({ target }) => target === 'echo');
    const { port: echoPort } = parseEndpoint(String(listen));
    const live = connect({ host: '127.0.0.1', port: echoPort });
    expect(await ask(live, 'before')).toBe('before');

    const lost = connect({ host: '127.0.0.1', port });
    lost.on('error', () => {});
    await new Promise((resolve) => lost.once('close', resolve));
    expect(await ask(live, 'after')).toBe('after');
    const late = connect({ host: '127.0.0.1', port: echoPort });
    expect(await ask(late, 'late')).toBe('late');
    for (const socket of [live, late]) socket.destroy();
    const { status } = await command.stop();
    expect(status).toBe(0);
    const errors = command.events.filter(({ event }) => event === 'error');
    expect(errors[0]).toMatchObject({ code: 'LIMIT', hint: expect.stringContaining('leads back to itself') });
    expect(errors[0]!['message']).toContain(String(LIMITS.connectionsPerForward));
    // Hundreds of connections break off, and a few lines say so. The last may be reset while it is still dialled.
    const others = errors.slice(1).map(({ code }) => code);
    expect(others.length).toBeLessThan(5);
    expect(others).toContain('STREAM_RESET');
    expect([[], ['TARGET_REFUSED']]).toContainEqual(others.filter((code) => code !== 'STREAM_RESET'));
  }, 60_000);
});
