import { once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import type { Endpoint } from '../../src/core/endpoint.ts';
import { bindingRequest } from '../../src/core/stun/request.ts';
import { askStunOverTcp, openStunOverTcp } from '../../src/net/stun-sample.ts';

const request = bindingRequest(new Uint8Array(12).fill(7), {
  username: 'registration',
  key: new Uint8Array(32).fill(3),
});
const servers: Server[] = [];

afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

/** A server that does that with each connection; and its connections, as they come. */
async function serve(answer: (socket: Socket) => void): Promise<{ server: Endpoint; sockets: Socket[] }> {
  const sockets: Socket[] = [];
  const tcp = createServer((socket) => {
    sockets.push(socket.on('error', () => {}));
    answer(socket);
  });
  servers.push(tcp);
  tcp.listen(0, '127.0.0.1');
  await once(tcp, 'listening');
  return { server: { address: '127.0.0.1', port: (tcp.address() as AddressInfo).port }, sockets };
}

/** Any message of STUN will do: nobody reads it here. */
const echo = (socket: Socket) => void socket.pipe(socket);
const { signal: never } = new AbortController();

describe('a STUN server that is asked over TCP', () => {
  it('is left by a reset once it has answered', async () => {
    const { server, sockets } = await serve(echo);
    expect(await askStunOverTcp({ server, request, signal: never })).toEqual(request);
    await expect.poll(() => sockets[0]!.destroyed).toBe(true);
  });

  it('may answer in pieces', async () => {
    const { server } = await serve(async (socket) => {
      socket.write(request.subarray(0, 9));
      await sleep(20);
      socket.write(request.subarray(9));
    });
    expect(await askStunOverTcp({ server, request, signal: never })).toEqual(request);
  });

  it('keeps the connection where that is wanted, past the limits of the answer', async () => {
    const { server, sockets } = await serve(echo);
    const controller = new AbortController();
    const { signal } = controller;
    const answer = await openStunOverTcp({ server, request, signal, timeoutMs: 200 });
    expect(answer?.localPort).toBe(sockets[0]!.remotePort);
    controller.abort();
    await sleep(300);
    expect(sockets[0]!.destroyed).toBe(false);
    answer!.close();
    await expect.poll(() => sockets[0]!.destroyed).toBe(true);
  });

  it('has said nothing where it ends the connection', async () => {
    const { server } = await serve((socket) => void socket.end());
    expect(await askStunOverTcp({ server, request, signal: never })).toBeUndefined();
  });

  it.each([
    ['in time', (_controller: AbortController) => {}],
    ['before it is given up', (controller: AbortController) => controller.abort()],
  ])('is left where it does not answer %s', async (_when, act) => {
    const { server, sockets } = await serve(() => {});
    const controller = new AbortController();
    const { signal } = controller;
    const answer = openStunOverTcp({ server, request, signal, timeoutMs: 200 });
    answer.catch(() => {});
    await expect.poll(() => sockets.length).toBe(1);
    act(controller);
    await expect(answer).rejects.toThrow();
    await expect.poll(() => sockets[0]!.destroyed).toBe(true);
  });

  it('is left where what it says is not STUN', async () => {
    const { server, sockets } = await serve((socket) => void socket.write('HTTP/1.1 400 Bad Request\r\n'));
    const answer = openStunOverTcp({ server, request, signal: never, timeoutMs: 2_000 });
    await expect(answer).rejects.toMatchObject({ code: 'PROTOCOL_ERROR' });
    await expect.poll(() => sockets[0]!.destroyed).toBe(true);
  });
});
