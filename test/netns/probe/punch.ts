/**
 * One end of a hole punch with nothing clever in it; prints whether both ends hear each other.
 *
 *   punch.ts udp|tcp LOCAL_PORT REMOTE_ADDRESS REMOTE_PORT PATIENCE_MS SERVER [again]
 *
 * Sends to the server first, as a peer does to learn its mapping; nothing needs to listen there. Prints `{ connected, remotePort }`: the port that the other end was heard from. UDP sends every 50 ms. TCP connects
 * once from the local port and leaves the repeats to the kernel: with two such ends this is a simultaneous open. With `again` it does so
 * as long as it is refused, as by a host that is reached before it dials.
 */
import { createSocket } from 'node:dgram';
import { connect } from 'node:net';

const [protocol = '', localPort = '', address = '', port = '', patience = '', server = '', again = ''] =
  process.argv.slice(2);

const SERVER_PORT = 9;
const AGAIN_MS = 50;

function report(remotePort?: number): never {
  console.log(JSON.stringify({ connected: remotePort !== undefined, remotePort }));
  process.exit(0);
}

function punchUdp(): void {
  const socket = createSocket('udp4').bind(Number(localPort));
  let heard: number | undefined;
  socket.on('message', (bytes, remote) => {
    heard ??= remote.port;
    socket.send('heard', remote.port, remote.address);
    // Stays a moment longer: the other end must hear that it was heard.
    if (bytes.toString() === 'heard') setTimeout(report, 200, heard);
  });
  socket.on('listening', () => {
    socket.send('hello', SERVER_PORT, server);
    setInterval(() => socket.send('hello', Number(port), address), 50);
  });
}

function punchTcp(): void {
  const from = { localPort: Number(localPort), localAddress: '0.0.0.0' };
  const contact = connect({ host: server, port: SERVER_PORT, ...from });
  contact.on('error', () => {});
  const dial = () => {
    const socket = connect({ host: address, port: Number(port), ...from });
    socket.on('error', () => (again ? setTimeout(dial, AGAIN_MS) : report()));
    socket.on('connect', () => socket.write('hello'));
    socket.on('data', () => setTimeout(report, 200, socket.remotePort));
  };
  contact.on('close', dial);
}

setTimeout(report, Number(patience));
if (protocol === 'udp') punchUdp();
else punchTcp();
