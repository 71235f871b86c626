// WebRTC: one reliable, ordered data channel of node-datachannel, introduced over a TCP connection.
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { PeerConnection } from 'node-datachannel';
import { HOST } from '../wire.mjs';

/** What may wait in the channel before its writer does. */
const HIGH_WATER = 1024 * 1024;
const LOW_WATER = HIGH_WATER / 4;

export async function listen(_middle, _variant, onWire) {
  const server = createServer((signalling) => {
    const peer = introduced(signalling);
    peer.onDataChannel((channel) => onWire(wireOf(channel, peer)));
  });
  server.listen(0, HOST);
  await once(server, 'listening');
  return { host: HOST, port: server.address().port };
}

export async function dial(address) {
  return async () => {
    const signalling = connect(address);
    await once(signalling, 'connect');
    const peer = introduced(signalling);
    const channel = peer.createDataChannel('bench');
    await new Promise((resolve) => channel.onOpen(resolve));
    return wireOf(channel, peer);
  };
}

/** Descriptions and candidates as they come, one JSON array a line. */
function introduced(signalling) {
  signalling.on('error', () => {});
  const peer = new PeerConnection('bench', { iceServers: [], bindAddress: HOST });
  const say = (...words) => signalling.write(`${JSON.stringify(words)}\n`);
  peer.onLocalDescription((sdp, type) => say('setRemoteDescription', sdp, type));
  peer.onLocalCandidate((candidate, mid) => say('addRemoteCandidate', candidate, mid));
  createInterface({ input: signalling }).on('line', (line) => {
    const [method, ...words] = JSON.parse(line);
    peer[method](...words);
  });
  return peer;
}

/** @returns {import('../wire.mjs').Wire} */
function wireOf(channel, peer) {
  let resume = () => {};
  channel.setBufferedAmountLowThreshold(LOW_WATER);
  channel.onBufferedAmountLow(() => resume());
  return {
    write: (bytes) => {
      channel.sendMessageBinary(bytes); // false only says that it waits in the channel
      return channel.bufferedAmount() < HIGH_WATER;
    },
    drained: () =>
      new Promise((resolve) => {
        resume = resolve;
        if (channel.bufferedAmount() <= LOW_WATER) resolve();
      }),
    onBytes: (take) => channel.onMessage(take),
    close: async () => peer.close(),
  };
}
