// Sends every datagram back: node udp-echo.mjs, prints the port.
import { createSocket } from 'node:dgram';

const socket = createSocket('udp4', (bytes, { port, address }) => socket.send(bytes, port, address));
socket.bind(0, '127.0.0.1', () => process.stdout.write(`${socket.address().port}\n`));
