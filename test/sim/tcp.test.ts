import { describe, expect, it } from 'vitest';
import type { Endpoint } from '../../src/core/endpoint.ts';
import type { Host } from './host.ts';
import type { LinkOptions } from './link.ts';
import { World } from './network.ts';
import type { TcpConnection } from './tcp-connection.ts';

interface Pair {
  readonly world: World;
  readonly client: Host;
  readonly server: Host;
}

/** Two public hosts, 20 ms apart. */
function pair(link: LinkOptions = {}): Pair {
  const world = new World({ seed: 1 });
  const segment = world.internet;
  const client = world.host({
    name: 'client',
    segment,
    addresses: ['198.51.100.1'],
    link: { delayMs: 20, ...link },
  });
  return { world, client, server: world.server() };
}

function connected({ world, client, server }: Pair): { ours: TcpConnection; theirs: TcpConnection } {
  let theirs: TcpConnection | undefined;
  const listener = server.tcp.listen(80);
  listener.onConnection = (connection) => (theirs = connection);
  const ours = client.tcp.connect({ remote: { address: server.address, port: 80 } });
  world.run(() => theirs !== undefined && ours.connected);
  return { ours, theirs: theirs! };
}

/** Collects what a connection tells, in order. */
function record(connection: TcpConnection): string[] {
  const events: string[] = [];
  connection.onConnect = () => events.push('connect');
  connection.onData = (bytes) => events.push(`data ${bytes.length}`);
  connection.onEnd = () => events.push('end');
  connection.onError = (code) => events.push(code);
  return events;
}

describe('connecting', () => {
  it('takes one round trip', () => {
    const { world, client, server } = pair();
    server.tcp.listen(80);
    const dial = client.tcp.connect({ remote: { address: server.address, port: 80 } });
    world.run(() => dial.connected);
    expect(world.now).toBe(40);
  });

  it('is refused by a RST where nobody listens', () => {
    const { world, client, server } = pair();
    const events = record(client.tcp.connect({ remote: { address: server.address, port: 80 } }));
    world.runFor(1_000);
    expect(events).toEqual(['ECONNREFUSED']);
  });

  it('repeats a lost SYN after 1, 3 and 7 s and gives up after 127 s', () => {
    const { world, client } = pair();
    const sent: number[] = [];
    world.observer = ({ at }) => sent.push(at);
    const events = record(client.tcp.connect({ remote: { address: '203.0.113.99', port: 80 } }));
    world.runFor(200_000);
    expect(sent.slice(0, 4)).toEqual([20, 1_020, 3_020, 7_020]);
    expect(events).toEqual(['ETIMEDOUT']);
  });

  it('sends nothing when a socket in SYN-SENT is destroyed', () => {
    const { world, client } = pair();
    let packets = 0;
    world.observer = () => packets++;
    client.tcp.connect({ remote: { address: '203.0.113.99', port: 80 } }).destroy();
    world.runFor(10_000);
    expect(packets).toBe(1);
  });
});

describe('a byte pipe', () => {
  const faults = { lossPercent: 10, reorderPercent: 10, duplicatePercent: 10, jitterMs: 5 };
  it.each([{}, faults])('delivers every byte in order over %j', (link) => {
    const lans = pair(link);
    const { ours, theirs } = connected(lans);
    const sent = Uint8Array.from({ length: 300_000 }, (_, index) => (index * 31) >> 3);
    const received: Uint8Array[] = [];
    let ended = false;
    theirs.onData = (bytes) => received.push(bytes);
    theirs.onEnd = () => (ended = true);
    for (let start = 0; start < sent.length; start += 7_000) ours.write(sent.subarray(start, start + 7_000));
    ours.end();
    lans.world.run(() => ended);
    expect(Buffer.concat(received).equals(sent)).toBe(true);
  });

  it('goes on in the other direction after a half-close', () => {
    const lans = pair();
    const { ours, theirs } = connected(lans);
    const [oursSaw, theirsSaw] = [record(ours), record(theirs)];
    ours.end();
    lans.world.runFor(100);
    theirs.write(new Uint8Array(10));
    theirs.end();
    lans.world.runFor(1_000);
    expect(theirsSaw).toEqual(['end']);
    expect(oursSaw).toEqual(['data 10', 'end']);
    expect(lans.world.clock.next).toBeUndefined();
  });

  it('answers data with a RST once destroyed, or reset', () => {
    for (const close of ['destroy', 'reset'] as const) {
      const lans = pair();
      const { ours, theirs } = connected(lans);
      const events = record(theirs);
      ours[close]();
      lans.world.runFor(100);
      theirs.write(new Uint8Array(10));
      lans.world.runFor(1_000);
      expect(events).toEqual(close === 'destroy' ? ['end', 'ECONNRESET'] : ['ECONNRESET']);
    }
  });

  it('times out where the path goes silent', () => {
    const lans = pair();
    const { ours } = connected(lans);
    const events = record(ours);
    lans.client.interfaces[0]!.link.cut = true;
    ours.write(new Uint8Array(10));
    lans.world.run(() => events.length > 0, 3_600_000);
    expect(events).toEqual(['ETIMEDOUT']);
  });
});

describe('local ports, as Linux and Node share them', () => {
  const remoteAt = (server: Host, port: number): Endpoint => ({ address: server.address, port });
  const errorsOf = (lans: Pair, connection: TcpConnection): string[] => {
    const events = record(connection);
    lans.world.runFor(100);
    return events;
  };

  it('a port may be dialled from twice only if the first dial bound it explicitly', () => {
    const lans = pair();
    for (const port of [80, 81]) lans.server.tcp.listen(port);
    const implicit = lans.client.tcp.connect({ remote: remoteAt(lans.server, 80) });
    const second = { remote: remoteAt(lans.server, 81), localPort: implicit.local.port };
    expect(errorsOf(lans, lans.client.tcp.connect(second))).toEqual(['EADDRINUSE']);
    const explicit = lans.client.tcp.connect({
      remote: remoteAt(lans.server, 80),
      localAddress: lans.client.address,
    });
    const third = { remote: remoteAt(lans.server, 81), localPort: explicit.local.port };
    expect(errorsOf(lans, lans.client.tcp.connect(third))).toEqual(['connect']);
  });

  it('the same 4-tuple is not available while the first lives, and is once it was destroyed', () => {
    const lans = pair();
    const options = { remote: remoteAt(lans.server, 80), localPort: 5_000 };
    const first = lans.client.tcp.connect(options);
    expect(errorsOf(lans, lans.client.tcp.connect(options))).toContain('EADDRNOTAVAIL');
    first.destroy();
    lans.server.tcp.listen(80);
    expect(errorsOf(lans, lans.client.tcp.connect(options))).toEqual(['connect']);
  });

  it('listening on a port that connections hold works, dialling from a port that listens does not', () => {
    const lans = pair();
    lans.server.tcp.listen(80);
    lans.client.tcp.connect({ remote: remoteAt(lans.server, 80), localPort: 5_000 });
    const listener = lans.client.tcp.listen(5_000);
    const options = { remote: remoteAt(lans.server, 81), localPort: 5_000 };
    expect(errorsOf(lans, lans.client.tcp.connect(options))).toEqual(['EADDRINUSE']);
    listener.close();
    expect(errorsOf(lans, lans.client.tcp.connect(options))).toEqual(['ECONNREFUSED']);
  });

  it('a dial to the own port and address connects to itself', () => {
    const lans = pair();
    const remote = { address: lans.client.address, port: 5_000 };
    expect(errorsOf(lans, lans.client.tcp.connect({ remote, localPort: 5_000 }))).toEqual(['connect']);
  });
});
