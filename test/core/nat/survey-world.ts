import type { TransportProfile } from '../../../src/core/nat/behavior.ts';
import type {
  TcpSurveyInput,
  TcpSurveyOutput,
  UdpSurveyInput,
  UdpSurveyOutput,
} from '../../../src/core/nat/survey.ts';
import type { Endpoint } from '../../../src/core/endpoint.ts';
import type { Machine } from '../../../src/core/machine.ts';
import { drive } from '../../sim/drive.ts';
import type { Host } from '../../sim/host.ts';
import type { TcpConnection } from '../../sim/tcp-connection.ts';
import type { TcpListener } from '../../sim/tcp.ts';
import type { UdpSocket } from '../../sim/udp.ts';
import { credentials, randomOf } from './stun-world.ts';

/** What a survey has found, and when. */
export interface Surveyed {
  profile: Partial<TransportProfile> | undefined;
  at: number;
}

export function surveyOptions(host: Host, servers: readonly Endpoint[]) {
  return { servers, credentials, localAddresses: host.addresses, random: randomOf(host) };
}

export function surveyUdp(host: Host, machine: Machine<UdpSurveyInput, UdpSurveyOutput>): Surveyed {
  const surveyed: Surveyed = { profile: undefined, at: NaN };
  const sockets = new Map<number, UdpSocket>();
  const open = (number: number): UdpSocket => {
    const socket = host.udp();
    sockets.set(number, socket);
    socket.onDatagram = (bytes, from) =>
      driven.handle({ type: 'datagram', socket: number, bytes, from: { ...from }, localPort: socket.port });
    return socket;
  };
  const driven = drive(host, machine, (output) => {
    if (output.type === 'found') {
      Object.assign(surveyed, { profile: output.profile, at: host.now });
      for (const socket of sockets.values()) socket.close();
    } else {
      (sockets.get(output.socket) ?? open(output.socket)).send(output.bytes, output.to);
    }
  });
  driven.handle({ type: 'start' });
  return surveyed;
}

export function surveyTcp(host: Host, machine: Machine<TcpSurveyInput, TcpSurveyOutput>): Surveyed {
  const surveyed: Surveyed = { profile: undefined, at: NaN };
  const connections = new Map<number, TcpConnection>();
  const listeners: TcpListener[] = [];
  const connect = (number: number, to: Endpoint, listens: boolean): void => {
    const connection = host.tcp.connect({ remote: to, localPort: 0 });
    connections.set(number, connection);
    connection.onConnect = () => {
      const { port } = connection.local;
      if (listens) listeners.push(host.tcp.listen(port));
      driven.handle({ type: 'connected', connection: number, localPort: port, isListening: listens });
    };
    connection.onData = (bytes) => driven.handle({ type: 'data', connection: number, bytes });
    connection.onError = () => driven.handle({ type: 'closed', connection: number });
    connection.onEnd = () => driven.handle({ type: 'closed', connection: number });
  };
  const driven = drive(host, machine, (output) => {
    switch (output.type) {
      case 'connect':
        connect(output.connection, output.to, output.listens);
        break;
      case 'write':
        connections.get(output.connection)?.write(output.bytes);
        break;
      case 'reset':
        connections.get(output.connection)?.reset();
        break;
      case 'found':
        Object.assign(surveyed, { profile: output.profile, at: host.now });
        for (const listener of listeners) listener.close();
        break;
    }
  });
  driven.handle({ type: 'start' });
  return surveyed;
}
