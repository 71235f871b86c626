// New UDP flows and as many new TCP flows a second, at random times: node foreign.mjs perSecond source server
import { createSocket } from 'node:dgram';
import { connect } from 'node:net';

const [perSecond, source, server] = process.argv.slice(2);
const DISCARD = 9;

const openUdp = () => {
  const socket = createSocket('udp4').bind(0, source, () => {
    socket.send('', DISCARD, server, () => socket.close());
  });
};

const openTcp = () => {
  const socket = connect({ host: server, port: DISCARD, localAddress: source });
  socket.on('error', () => socket.destroy());
};

/** Poisson arrivals: exponential pauses. */
const repeat = (open) => {
  open();
  setTimeout(repeat, (-1_000 * Math.log(1 - Math.random())) / Number(perSecond), open);
};

repeat(openUdp);
repeat(openTcp);
process.stdout.write('ready\n');
