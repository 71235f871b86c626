// hyperdht through a relay of its own (blind-relay), where the two reach that relay and not one another.
import { once } from 'node:events';
import { Server as BlindRelay } from 'blind-relay';
import DHT from 'hyperdht';
import createTestnet from 'hyperdht/testnet.js';
import { HOST, wireOf } from '../wire.mjs';

export async function middle() {
  const { bootstrap } = await createTestnet(4, { host: HOST });
  const node = new DHT({ bootstrap, host: '0.0.0.0', ephemeral: false, firewalled: false });
  const createStream = (options) => node.createRawStream({ ...options, framed: true });
  const relay = new BlindRelay({ createStream });
  const server = node.createServer((socket) => {
    relay.accept(socket, { id: socket.remotePublicKey }).on('error', () => {});
    socket.on('error', () => {});
  });
  const keyPair = DHT.keyPair();
  await server.listen(keyPair);
  return { bootstrap, relay: keyPair.publicKey.toString('hex') };
}

export async function listen({ bootstrap, relay }, _variant, onWire) {
  const node = new DHT({ bootstrap, host: HOST });
  const options = { relayThrough: Buffer.from(relay, 'hex'), shareLocalAddress: false };
  const server = node.createServer(options, (socket) => onWire(wireOf(socket)));
  const keyPair = DHT.keyPair();
  await server.listen(keyPair);
  return keyPair.publicKey.toString('hex');
}

/** A second connection of the same node, made after the first has ended, is often answered by RELAY_ABORTED. So each has a node that stands ready. */
export async function dial(publicKey, { bootstrap, relay }) {
  let node = await ready(bootstrap);
  return async () => {
    const socket = node.connect(Buffer.from(publicKey, 'hex'), { relayThrough: Buffer.from(relay, 'hex') });
    await once(socket, 'open');
    return wireOf(socket, async () => {
      await node.destroy();
      node = await ready(bootstrap);
    });
  };
}

async function ready(bootstrap) {
  const node = new DHT({ bootstrap, host: HOST });
  await node.fullyBootstrapped();
  return node;
}
