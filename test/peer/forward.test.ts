import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { SallyportError } from '../../src/core/errors.ts';
import { parseEndpoint } from '../../src/core/endpoint.ts';
import { Forward, parseForward, parseTarget } from '../../peer/services/forward.ts';
import { dialTarget } from '../../peer/services/target.ts';

describe('-L', () => {
  it.each([
    ['8080:web', '127.0.0.1', 8080, { for: 'service', name: 'web' }],
    ['8080:localhost:80', '127.0.0.1', 8080, { for: 'target', host: 'localhost', port: 80 }],
    ['0.0.0.0:8080:web', '0.0.0.0', 8080, { for: 'service', name: 'web' }],
    ['0.0.0.0:8080:10.0.0.1:80', '0.0.0.0', 8080, { for: 'target', host: '10.0.0.1', port: 80 }],
    ['[::1]:0:[::1]:80', '::1', 0, { for: 'target', host: '::1', port: 80 }],
  ])('%s', (spec, bind, port, purpose) => {
    expect(parseForward(spec)).toEqual({ bind, port, purpose });
  });

  it.each(['', '8080', 'web', 'x:y:z', '99999:web', '1:2:3:4:5', '8080:'])('%j is refused', (spec) => {
    expect(() => parseForward(spec)).toThrow(expect.objectContaining({ code: 'USAGE' }));
  });

  it('says of UDP that it is not carried yet', () => {
    expect(() => parseForward('53:10.0.0.1:53/udp')).toThrow(
      expect.objectContaining({ code: 'UNSUPPORTED' }),
    );
    expect(parseTarget('web')).toEqual({ for: 'service', name: 'web' });
  });

  it('carries each connection, halves ending alone, and resets the client when the target refuses', async () => {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      let got = '';
      socket.on('data', (chunk) => (got += chunk.toString()));
      socket.on('end', () => socket.end(got.toUpperCase()));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const errors: SallyportError[] = [];
    const opener = {
      openPurpose: () => dialTarget({ host: '127.0.0.1', port: open ? port : 1, checked: true }),
    };
    let open = true;
    const forward = await Forward.start(parseForward('0:web'), opener, (error) => errors.push(error));
    const there = parseEndpoint(forward.listen);

    const client = connect({ host: there.address, port: there.port, allowHalfOpen: true });
    client.end('hello');
    expect(await text(client)).toBe('HELLO');

    open = false;
    const refused = connect({ host: there.address, port: there.port });
    await once(refused, 'close').catch(() => {});
    expect(errors.map((error) => error.code)).toEqual(['TARGET_REFUSED']);
    await forward.close();
    server.close();
  });

  it('says when its port is in use', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const started = Forward.start(
      parseForward(`${port}:web`),
      { openPurpose: () => Promise.reject(new Error()) },
      () => {},
    );
    await expect(started).rejects.toMatchObject({ code: 'PORT_IN_USE' });
    server.close();
  });
});
