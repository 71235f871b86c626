// hyperdht through a relay of its own kind (blind-relay); neither end punches.
import { once } from 'node:events';
import { Server as BlindRelay } from 'blind-relay';
import DHT from 'hyperdht';
import createTestnet from 'hyperdht/testnet.js';
import { HOST, wireOf } from '../wire.mjs';

export async function middle() {
  const { bootstrap } = await createTestnet(4, { host: HOST });
  const node = new DHT({ bootstrap, host: HOST });
  const relay = new BlindRelay({
    createStream: (options) => node.createRawStream({ ...options, framed: true }),
  });
  const server = node.createServer({ shareLocalAddress: false }, (socket) => {
    socket.on('error', () => {});
    relay.accept(socket, { id: socket.remotePublicKey }).on('error', () => {});
  });
  const keyPair = DHT.keyPair();
  await server.listen(keyPair);
  return { bootstrap, relay: keyPair.publicKey.toString('hex'), port: node.localAddress()?.port };
}

export async function listen({ bootstrap, relay }, _variant, onWire) {
  const node = new DHT({ bootstrap, host: HOST });
  const options = { relayThrough: Buffer.from(relay, 'hex'), holepunch: false, shareLocalAddress: false };
  const server = node.createServer(options, (socket) => onWire(wireOf(socket)));
  const keyPair = DHT.keyPair();
  await server.listen(keyPair);
  return keyPair.publicKey.toString('hex');
}

export async function dial(publicKey, { bootstrap, relay }) {
  const node = new DHT({ bootstrap, host: HOST });
  await node.fullyBootstrapped();
  return async () => {
    const socket = node.connect(Buffer.from(publicKey, 'hex'), {
      relayThrough: Buffer.from(relay, 'hex'),
      relayAddresses: bootstrap, // the handshake by way of these, since a direct one would be used
      localConnection: false,
    });
    await once(socket, 'open');
    return wireOf(socket);
  };
}
