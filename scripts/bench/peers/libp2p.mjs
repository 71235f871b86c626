// js-libp2p: Noise and yamux over TCP, dialled by address.
import { noise } from '@chainsafe/libp2p-noise';
import { yamux } from '@chainsafe/libp2p-yamux';
import { tcp } from '@libp2p/tcp';
import { multiaddr } from '@multiformats/multiaddr';
import { createLibp2p } from 'libp2p';

// libp2p 3 is made for Node 22; this is all that it misses on Node 20.
Promise.withResolvers ??= function () {
  const parts = {};
  parts.promise = new this((resolve, reject) => Object.assign(parts, { resolve, reject }));
  return parts;
};

const PROTOCOL = '/bench/1';

function start(listen) {
  return createLibp2p({
    addresses: { listen },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionMonitor: { enabled: false },
  });
}

export async function listen(_middle, _variant, onWire) {
  const node = await start(['/ip4/127.0.0.1/tcp/0']);
  await node.handle(PROTOCOL, (stream) => onWire(wireOf(stream)));
  return node.getMultiaddrs()[0].toString();
}

export async function dial(address) {
  const node = await start([]);
  return async () => {
    const connection = await node.dial(multiaddr(address));
    return wireOf(await connection.newStream(PROTOCOL), () => connection.close());
  };
}

/** @returns {import('../wire.mjs').Wire} */
function wireOf(stream, close) {
  return {
    write: (bytes) => stream.send(bytes),
    // Its own onDrain() resolves at once from the second time on (@libp2p/utils 7).
    drained: () => new Promise((resolve) => stream.addEventListener('drain', resolve, { once: true })),
    onBytes: (take) => stream.addEventListener('message', ({ data }) => take({ length: data.byteLength })),
    close,
  };
}
