import type { Socket as UdpSocket } from 'node:dgram';
import { systemClock } from '../../src/net/clock.ts';
import type { SessionStream } from '../../src/net/session-stream.ts';
import type { SessionDatagrams } from '../session-datagrams.ts';
import { DatagramFlow } from './datagram-flow.ts';

/** Joins a flow that a peer opened with the connected socket of its target, until the flow ends. */
export function serveFlow(stream: SessionStream, socket: UdpSocket, datagrams: SessionDatagrams): void {
  const flow = new DatagramFlow({
    stream,
    clock: systemClock,
    datagrams,
    end: 'dials',
    onDatagram: (bytes) => socket.send(bytes, () => {}),
  });
  socket.on('message', (bytes) => flow.send(bytes));
  // Nothing listens there, says ICMP: with UDP that may change at any time, and whoever waits for an answer knows when to stop.
  socket.on('error', () => {});
  stream.on('close', () => socket.close());
}
