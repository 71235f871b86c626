// Node's own TLS 1.3 over TCP, with the same cipher and a pre-shared key as well.
import { once } from 'node:events';
import { connect, createServer } from 'node:tls';
import { wireOf } from '../wire.mjs';

const shared = { minVersion: 'TLSv1.3', ciphers: 'TLS_AES_128_GCM_SHA256' };
const psk = Buffer.alloc(32, 1);

export async function listen(_middle, _variant, onWire) {
  const server = createServer({ ...shared, noDelay: true, pskCallback: () => psk });
  server.on('secureConnection', (socket) => onWire(wireOf(socket)));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server.address().port;
}

export async function dial(port) {
  return async () => {
    const socket = connect({
      ...shared,
      port,
      host: '127.0.0.1',
      pskCallback: () => ({ psk, identity: 'bench' }),
      checkServerIdentity: () => undefined,
    });
    socket.setNoDelay(true);
    await once(socket, 'secureConnect');
    return wireOf(socket);
  };
}
