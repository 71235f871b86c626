import type { Endpoint } from '../../../src/core/endpoint.ts';
import { identityFromSeed, type Identity } from '../../../src/core/identity.ts';
import type { TransportProfile } from '../../../src/core/nat/behavior.ts';
import { TcpDiscovery, type TcpDiscoveryOutput } from '../../../src/core/nat/tcp-discovery.ts';
import { UdpDiscovery, type UdpDiscoveryOutput } from '../../../src/core/nat/udp-discovery.ts';
import type { Candidate } from '../../../src/core/punch/candidate.ts';
import { StunFramer } from '../../../src/core/stun/framing.ts';
import type { StunCredentials } from '../../../src/core/stun/request.ts';
import type { DialOutcome } from '../../../src/core/stun/message.ts';
import { StunResponder, type DialBack, type StunLocal } from '../../../src/core/stun/responder.ts';
import { drive, type Driven } from '../../sim/drive.ts';
import type { Host } from '../../sim/host.ts';
import type { TcpConnection } from '../../sim/tcp-connection.ts';
import type { UdpSocket } from '../../sim/udp.ts';

const PORTS = [3478, 3479] as const;

export const deployment: Identity = identityFromSeed(new Uint8Array(32).fill(1));
export const peer: Identity = identityFromSeed(new Uint8Array(32).fill(2));
export const credentials: StunCredentials = { username: 'registration', key: new Uint8Array(32).fill(3) };

/** STUN on a simulated host: both ports of its first `addresses` addresses, UDP and TCP. Returns where it listens. */
export function startStun(host: Host, addresses: 1 | 2 = 2): Endpoint[] {
  const own = host.addresses.slice(0, addresses);
  const lookup = (username: string) =>
    username === credentials.username ? { peer: peer.id, key: credentials.key } : undefined;
  const responder = new StunResponder({ deployment, lookup, seed: 1 });
  const sockets = own.map((address) => PORTS.map((port) => host.udp(port, address)));
  for (const [i, address] of own.entries()) {
    for (const [j, port] of PORTS.entries()) {
      const on: StunLocal = { address, port, otherAddress: own[1 - i], otherPort: PORTS[1 - j]! };
      const socket = sockets[i]![j]!;
      socket.onDatagram = (bytes, from) => {
        const reply = responder.respond(bytes, { transport: 'udp', from, on }, host.now);
        const source = reply && sockets[reply.change.address ? 1 - i : i]![reply.change.port ? 1 - j : j]!;
        if (reply) source?.send(reply.bytes, reply.to);
      };
      host.tcp.listen(port, address).onConnection = (connection) => serve(connection, responder, on, host);
    }
  }
  return own.flatMap((address) => PORTS.map((port) => ({ address, port })));
}

function serve(connection: TcpConnection, responder: StunResponder, on: StunLocal, host: Host): void {
  const framer = new StunFramer();
  connection.onData = (bytes) => {
    for (const message of framer.push(bytes)) {
      const arrival = { transport: 'tcp', from: connection.remote, on } as const;
      const reply = responder.respond(message, arrival, host.now);
      if (reply?.dialBack) dialBack(reply.dialBack, connection, on, host);
      else if (reply) connection.write(reply.bytes);
    }
  };
}

function dialBack(order: DialBack, asked: TcpConnection, on: StunLocal, host: Host): void {
  const localAddress = (order.fromOtherAddress ? on.otherAddress : on.address)!;
  const dial = host.tcp.connect({ remote: order.to, localAddress });
  const conclude = (outcome: DialOutcome): void => {
    patience.cancel();
    dial.reset();
    asked.write(order.answer(outcome));
  };
  const patience = host.at(host.now + 900, () => conclude('silent'));
  dial.onConnect = () => conclude('connected');
  dial.onError = () => conclude('refused');
}

/** What a discovery has said so far. */
export interface Measured {
  profile: TransportProfile | undefined;
  complete: boolean;
  completeAt: number;
  mappedAt: number;
  readonly candidates: Candidate[];
  /** Transactions, retransmissions not counted. */
  readonly requests: Set<string>;
}

/** A plain STUN server on a host of its own, which knows no registration. */
export function startWitness(host: Host): Endpoint {
  const on: StunLocal = {
    address: host.address,
    port: PORTS[0],
    otherAddress: undefined,
    otherPort: PORTS[1],
  };
  const responder = new StunResponder({ deployment, lookup: () => undefined, seed: 2 });
  const socket = host.udp(on.port, host.address);
  socket.onDatagram = (bytes, from) => {
    const reply = responder.respond(bytes, { transport: 'udp', from, on }, host.now);
    if (reply) socket.send(reply.bytes, reply.to);
  };
  return { address: host.address, port: on.port };
}

export function measureUdp(
  host: Host,
  servers: Endpoint[],
  witness?: Endpoint,
): Measured & Driven<{ type: 'start' | 'refresh' }> {
  const main = host.udp();
  let filtering: UdpSocket | undefined;
  const measured = empty();
  const options = { servers, credentials, localAddresses: host.addresses, localPort: main.port };
  const machine = new UdpDiscovery({ ...options, witness: () => witness, random: randomOf(host) });
  const driven = drive(host, machine, (output: UdpDiscoveryOutput) => {
    if (output.type === 'release') {
      filtering?.close();
      filtering = undefined;
    } else if (output.type === 'send') {
      measured.requests.add(Buffer.from(output.bytes.subarray(8, 20)).toString('hex'));
      if (output.socket === 'main') return main.send(output.bytes, output.to);
      filtering ??= host.udp();
      filtering.onDatagram = receive('filtering');
      filtering.send(output.bytes, output.to);
    } else {
      note(measured, output, host.now);
    }
  });
  const receive = (socket: 'main' | 'filtering') => (bytes: Uint8Array, from: Endpoint) =>
    driven.handle({ type: 'datagram', socket, bytes, from: { ...from } });
  main.onDatagram = receive('main');
  driven.handle({ type: 'start' });
  return Object.assign(measured, { handle: driven.handle.bind(driven), stop: driven.stop.bind(driven) });
}

export interface MeasuredTcp extends Measured, Driven<{ type: 'start' | 'refresh' }> {
  readonly connections: ReadonlyMap<number, TcpConnection>;
  readonly heldPort: number;
}

export function measureTcp(host: Host, servers: Endpoint[]): MeasuredTcp {
  const connections = new Map<number, TcpConnection>();
  const measured = empty();
  const options = { servers, credentials, localAddresses: host.addresses, random: randomOf(host) };
  const machine = new TcpDiscovery(options);
  const driven = drive(host, machine, (output: TcpDiscoveryOutput) => {
    switch (output.type) {
      case 'connect': {
        const connection = host.tcp.connect({ remote: output.to, localPort: output.localPort });
        const id = output.connection;
        connections.set(id, connection);
        connection.onConnect = () =>
          driven.handle({ type: 'connected', connection: id, localPort: connection.local.port });
        connection.onData = (bytes) => driven.handle({ type: 'data', connection: id, bytes });
        connection.onError = (code) => driven.handle({ type: 'closed', connection: id, code });
        connection.onEnd = () => driven.handle({ type: 'closed', connection: id });
        break;
      }
      case 'write':
        connections.get(output.connection)?.write(output.bytes);
        break;
      case 'reset':
        connections.get(output.connection)?.reset();
        connections.delete(output.connection);
        break;
      case 'mapped':
      case 'profile':
        note(measured, output, host.now);
        break;
    }
  });
  driven.handle({ type: 'start' });
  return Object.defineProperty(
    Object.assign(measured, {
      handle: driven.handle.bind(driven),
      stop: driven.stop.bind(driven),
      connections,
      heldPort: 0,
    }),
    'heldPort',
    { get: () => machine.heldPort },
  );
}

function note(
  measured: Measured,
  output: Extract<UdpDiscoveryOutput, { type: 'mapped' | 'profile' }>,
  now: number,
): void {
  if (output.type === 'mapped') {
    measured.candidates.push(output.candidate);
    if (Number.isNaN(measured.mappedAt)) measured.mappedAt = now;
    return;
  }
  measured.profile = output.profile;
  if (output.complete && !measured.complete) measured.completeAt = now;
  measured.complete ||= output.complete;
}

function empty(): Measured {
  return {
    profile: undefined,
    complete: false,
    completeAt: NaN,
    mappedAt: NaN,
    candidates: [],
    requests: new Set(),
  };
}

export function randomOf(host: Host): (length: number) => Uint8Array {
  return (length) => Uint8Array.from({ length }, () => host.random.integer(0, 255));
}
