// hyperdht through a relay of its own kind (blind-relay); neither end punches.
import { once } from 'node:events';
import { Server as BlindRelay } from 'blind-relay';
import DHT from 'hyperdht';
import createTestnet from 'hyperdht/testnet.js';
import { wireOf } from '../wire.mjs';

export async function middle() {
  const { bootstrap } = await createTestnet(4);
  const node = new DHT({ bootstrap, host: '127.0.0.1' });
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
  const node = new DHT({ bootstrap, host: '127.0.0.1' });
  const options = { relayThrough: Buffer.from(relay, 'hex'), holepunch: false, shareLocalAddress: false };
  const server = node.createServer(options, (socket) => onWire(wireOf(socket)));
  const keyPair = DHT.keyPair();
  await server.listen(keyPair);
  return keyPair.publicKey.toString('hex');
}

export async function dial(publicKey, { bootstrap, relay }) {
  const node = new DHT({ bootstrap, host: '127.0.0.1' });
  await node.fullyBootstrapped();
  return async () => {
    const relayThrough = Buffer.from(relay, 'hex');
    const socket = node.connect(Buffer.from(publicKey, 'hex'), { relayThrough, localConnection: false });
    await once(socket, 'open');
    return wireOf(socket);
  };
}
