// Node's TLS 1.3 over one udx stream: what a UDP path is made of, without a session.
import { once } from 'node:events';
import { connect, TLSSocket } from 'node:tls';
import { UdpSocket } from '../../../dist/src/net/udx.js';
import { HOST, wireOf } from '../wire.mjs';

const shared = { minVersion: 'TLSv1.3', ciphers: 'TLS_AES_128_GCM_SHA256', highWaterMark: 256 * 1024 };
const psk = Buffer.alloc(32, 1);
const [LISTENING, DIALLING] = [1, 2];

export async function listen(_middle, _variant, onWire) {
  const socket = UdpSocket.open({ host: HOST, port: 0 });
  socket.once('datagram', (_bytes, remote) => {
    const pipe = socket.connect({ localId: LISTENING, remoteId: DIALLING, remote });
    socket.send(Buffer.of(0), remote);
    onWire(wireOf(new TLSSocket(pipe, { ...shared, isServer: true, pskCallback: () => psk })));
  });
  return socket.address.port;
}

export async function dial(port) {
  return async () => {
    const remote = { address: HOST, port };
    const socket = UdpSocket.open({ host: HOST, port: 0 });
    socket.send(Buffer.of(0), remote);
    await once(socket, 'datagram');
    const pipe = socket.connect({ localId: DIALLING, remoteId: LISTENING, remote });
    const secured = connect({
      ...shared,
      socket: pipe,
      pskCallback: () => ({ psk, identity: 'bench' }),
      checkServerIdentity: () => undefined,
    });
    await once(secured, 'secureConnect');
    return wireOf(secured);
  };
}
