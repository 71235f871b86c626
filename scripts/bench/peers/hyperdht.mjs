// hyperdht: a DHT of its own on loopback introduces the two; Noise and libsodium's secretstream over udx.
import { once } from 'node:events';
import DHT from 'hyperdht';
import createTestnet from 'hyperdht/testnet.js';
import { HOST, wireOf } from '../wire.mjs';

export async function middle() {
  const { bootstrap } = await createTestnet(4, { host: HOST });
  return bootstrap;
}

export async function listen(bootstrap, _variant, onWire) {
  const node = new DHT({ bootstrap, host: HOST });
  const server = node.createServer((socket) => onWire(wireOf(socket)));
  const keyPair = DHT.keyPair();
  await server.listen(keyPair);
  return keyPair.publicKey.toString('hex');
}

export async function dial(publicKey, bootstrap) {
  const node = new DHT({ bootstrap, host: HOST });
  await node.fullyBootstrapped();
  return async () => {
    const socket = node.connect(Buffer.from(publicKey, 'hex'));
    await once(socket, 'open');
    return wireOf(socket);
  };
}
