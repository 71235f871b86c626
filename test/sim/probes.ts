import type { Endpoint } from '../../src/core/endpoint.ts';
import type { Host } from './host.ts';
import type { Behavior } from './nat-behavior.ts';
import type { World } from './network.ts';
import type { TcpConnection } from './tcp-connection.ts';
import type { UdpSocket } from './udp.ts';

/**
 * Plain measurements of a NAT from outside, by sockets alone (the four destinations of RFC 5780): how the simulation
 * is held to its presets' names, independent of the discovery that is built on it.
 */
export interface Probing {
  readonly world: World;
  readonly host: Host;
  /** A public host with two addresses. */
  readonly server: Host;
}

const PROBE_PORTS: readonly [number, number] = [3478, 3479];
const PROBE = new Uint8Array([1]);
const PATIENCE_MS = 1_000;

/** The server's four endpoints: both addresses, both ports, in the order 1:1, 1:2, 2:1, 2:2. */
export function destinationsOf(server: Host): Endpoint[] {
  return server.addresses.flatMap((address) => PROBE_PORTS.map((port) => ({ address, port })));
}

/** The external endpoints of one UDP port towards the four destinations; `undefined` where nothing came through. */
export function observeUdp({ world, host, server }: Probing, port = 5_000): (Endpoint | undefined)[] {
  const destinations = destinationsOf(server);
  const seen: (Endpoint | undefined)[] = destinations.map(() => undefined);
  const sockets = destinations.map((destination, index) => {
    const socket = server.udp(destination.port, destination.address);
    socket.onDatagram = (_, from) => (seen[index] = from);
    return socket;
  });
  const own = host.udp(port);
  for (const destination of destinations) own.send(PROBE, destination);
  world.runFor(PATIENCE_MS);
  for (const socket of [own, ...sockets]) socket.close();
  return seen;
}

/** The external endpoints of one local TCP port towards the four destinations. */
export function observeTcp({ world, host, server }: Probing, port = 5_000): (Endpoint | undefined)[] {
  const destinations = destinationsOf(server);
  const seen: (Endpoint | undefined)[] = destinations.map(() => undefined);
  const listeners = destinations.map((destination, index) => {
    const listener = server.tcp.listen(destination.port, destination.address);
    listener.onConnection = ({ remote }) => (seen[index] = remote);
    return listener;
  });
  const dials = destinations.map((remote) => host.tcp.connect({ remote, localPort: port }));
  world.runFor(PATIENCE_MS);
  for (const dial of dials) dial.destroy();
  for (const listener of listeners) listener.close();
  return seen;
}

/** RFC 5780 §4.3 on the endpoints towards the four destinations. */
export function mappingOf(seen: readonly (Endpoint | undefined)[]): Behavior | 'blocked' {
  const [first, otherPort, otherAddress, otherBoth] = seen;
  if (!first || !otherPort || !otherAddress || !otherBoth) return 'blocked';
  if (first !== otherPort || otherAddress !== otherBoth) return 'address-and-port-dependent';
  return first === otherAddress ? 'endpoint-independent' : 'address-dependent';
}

/** RFC 5780 §4.4: who besides the one endpoint that a UDP port has talked to may send to its mapping. */
export function udpFiltering({ world, host, server }: Probing, port = 5_001): Behavior | 'blocked' {
  const servers = destinationsOf(server).map((local) => server.udp(local.port, local.address));
  const [contacted, samePlace, , elsewhere] = servers as [UdpSocket, UdpSocket, UdpSocket, UdpSocket];
  const own = host.udp(port);
  let mapped: Endpoint | undefined;
  contacted.onDatagram = (_, from) => (mapped = from);
  own.send(PROBE, contacted.local);
  world.runFor(PATIENCE_MS);
  const passes = (from: UdpSocket): boolean => {
    let arrived = false;
    own.onDatagram = () => (arrived = true);
    if (mapped) from.send(PROBE, mapped);
    world.runFor(PATIENCE_MS);
    return arrived;
  };
  const verdict = filteringOf(passes(contacted), passes(elsewhere), passes(samePlace));
  for (const socket of [own, ...servers]) socket.close();
  return verdict;
}

/** The same by dialling back to a port that holds one connection and listens. */
export function tcpFiltering({ world, host, server }: Probing, port = 5_001): Behavior | 'blocked' {
  const contacted = destinationsOf(server)[0]!;
  const listener = server.tcp.listen(contacted.port, contacted.address);
  let mapped: Endpoint | undefined;
  listener.onConnection = ({ remote }) => (mapped = remote);
  const held = host.tcp.connect({ remote: contacted, localPort: port });
  world.runFor(PATIENCE_MS);
  const own = host.tcp.listen(port);
  const passes = (localAddress: string): boolean => {
    const dial = mapped && server.tcp.connect({ remote: mapped, localAddress });
    world.runFor(PATIENCE_MS);
    const { connected } = dial ?? { connected: false };
    dial?.reset();
    return connected;
  };
  const verdict = filteringOf(held.connected, passes(server.addresses[1]!), passes(contacted.address));
  held.destroy();
  for (const socket of [own, listener]) socket.close();
  return verdict;
}

/** What a dial to a mapping that never contacted the dialler gets. */
export function tcpStrayAnswer(
  { world, host, server }: Probing,
  port = 5_002,
): 'connected' | 'refused' | 'silent' {
  const [contacted, , elsewhere] = destinationsOf(server);
  const listener = server.tcp.listen(contacted!.port, contacted!.address);
  let mapped: Endpoint | undefined;
  listener.onConnection = ({ remote }) => (mapped = remote);
  const held = host.tcp.connect({ remote: contacted!, localPort: port });
  world.run(() => mapped !== undefined);
  const dial = server.tcp.connect({ remote: mapped!, localAddress: elsewhere!.address });
  const answer = outcomeOf(world, dial);
  held.destroy();
  listener.close();
  return answer;
}

/** What comes of a dial within a second; it is destroyed afterwards. */
export function outcomeOf(world: World, dial: TcpConnection): 'connected' | 'refused' | 'silent' {
  let outcome: 'connected' | 'refused' | 'silent' = 'silent';
  dial.onConnect = () => (outcome = 'connected');
  dial.onError = () => (outcome = 'refused');
  world.run(() => outcome !== 'silent', PATIENCE_MS);
  dial.destroy();
  return outcome;
}

function filteringOf(contacted: boolean, elsewhere: boolean, samePlace: boolean): Behavior | 'blocked' {
  if (!contacted) return 'blocked';
  if (elsewhere) return 'endpoint-independent';
  return samePlace ? 'address-dependent' : 'address-and-port-dependent';
}
