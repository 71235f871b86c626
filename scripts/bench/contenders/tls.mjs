// Node's own TLS 1.3 over TCP, with the same cipher and a pre-shared key as well.
import { once } from 'node:events';
import { connect, createServer } from 'node:tls';
import { HOST, wireOf } from '../wire.mjs';

const shared = { minVersion: 'TLSv1.3', ciphers: 'TLS_AES_128_GCM_SHA256' };
const psk = Buffer.alloc(32, 1);

export async function listen(_middle, _variant, onWire) {
  const server = createServer({ ...shared, noDelay: true, pskCallback: () => psk });
  server.on('secureConnection', (socket) => onWire(wireOf(socket)));
  server.listen(0, HOST);
  await once(server, 'listening');
  return { host: HOST, port: server.address().port };
}

export async function dial(address) {
  return async () => {
    const socket = connect({
      ...shared,
      ...address,
      pskCallback: () => ({ psk, identity: 'bench' }),
      checkServerIdentity: () => undefined,
    });
    socket.setNoDelay(true);
    await once(socket, 'secureConnect');
    return wireOf(socket);
  };
}
