import assert from 'node:assert';
import { EventEmitter } from 'node:events';
import UDX from 'udx-native';
import type { UDXAddress, UDXSocket } from 'udx-native';
import { sourceAddress } from '../core/address.ts';
import { familyOf } from '../core/endpoint.ts';
import type { Endpoint } from '../core/endpoint.ts';
import { SallyportError } from '../core/errors.ts';
import { bindFailure } from './bind-failure.ts';
import { enlargeBuffers } from './enlarge-buffers.ts';
import { UdxPipe } from './udx-pipe.ts';

export type { UdxPipe } from './udx-pipe.ts';

interface UdpSocketEvents {
  /** A raw datagram and its source. The bytes are a view of a shared slab: copy what is kept for long. */
  datagram: [bytes: Buffer, from: Endpoint];
  close: [];
}

export interface UdxConnectOptions {
  /** Ids of the two ends, 32 bits each; both ends must name the same two. The local one is unique in the process. */
  localId: number;
  remoteId: number;
  remote: Endpoint;
  /** Milliseconds; more than a round trip. With it, at both ends, the first bytes go by messages (`FirstBytes`). */
  repeatMs?: number | undefined;
}

/**
 * One UDP port for everything: STUN, probes with their own TTL, raw datagrams, and reliable streams beside them,
 * so that what was punched is what is used.
 */
export class UdpSocket extends EventEmitter<UdpSocketEvents> {
  readonly #socket: UDXSocket;
  /** Where the socket is bound; the address is the wildcard if it was bound so. */
  readonly address: Endpoint;

  private constructor(socket: UDXSocket, address: Endpoint) {
    super();
    this.#socket = socket;
    this.address = address;
    socket.on('message', (bytes: Buffer, from: UDXAddress) => this.#onMessage(bytes, from));
    socket.on('close', () => this.emit('close'));
  }

  /** Binds `host` (an address; `0.0.0.0` or `::` for any) and `port` (0 picks one). Fails with `PORT_IN_USE`, `LIMIT` or `UNSUPPORTED`; the cause has the errno code. */
  static open({ host, port }: { host: string; port: number }): UdpSocket {
    const socket = udx().createSocket({ ipv6Only: host.includes(':') });
    try {
      socket.bind(port, host);
    } catch (cause) {
      void socket.close();
      throw bindFailure(`UDP port ${port} on ${host} can't be bound`, cause);
    }
    enlargeBuffers(socket);
    const bound = socket.address();
    assert(bound !== null);
    return new UdpSocket(socket, { address: host, port: bound.port });
  }

  /**
   * Sends one raw datagram; the bytes must stay as they are until the next turn of the event loop. Like UDP itself it tells of no failure.
   * @param ttl hops for this packet alone
   */
  send(bytes: Uint8Array, to: Endpoint, ttl = 0): void {
    assert(bytes[0] !== UDX_MAGIC, 'a datagram that begins with 0xff would be taken for a udx packet');
    if (this.#socket.closing || familyOf(to) !== familyOf(this.address)) return;
    this.#socket.trySend(bytes, to.port, to.address, ttl);
  }

  /**
   * A reliable stream to `remote` over this port. There is no handshake: both ends connect, and what reaches an end that hasn't yet is
   * lost and comes again a second later, so the end that speaks first should be the one that connects last.
   * @throws SallyportError `NO_PATH` where this socket is closed, or the local id is that of another stream: it comes from a session's keys
   */
  connect({ localId, remoteId, remote, repeatMs }: UdxConnectOptions): UdxPipe {
    assert(isStreamId(localId) && isStreamId(remoteId), 'a stream id is a 32-bit number');
    if (idsInUse.has(localId)) throw new SallyportError('NO_PATH', 'another path has its stream id');
    if (this.#socket.closing) throw new SallyportError('NO_PATH', 'the UDP socket is closed');
    idsInUse.add(localId);
    const stream = udx().createStream(localId);
    stream.on('close', () => idsInUse.delete(localId));
    return new UdxPipe(stream, this.#socket, remoteId, remote, repeatMs);
  }

  /** Moves a pipe of any of this process's sockets to this one; see `UdxPipe.changeRemote`. */
  async adopt(pipe: UdxPipe, remote: Endpoint): Promise<void> {
    await pipe.changeRemote(remote, this.#socket);
  }

  /** Refuses new work at once; resolves when the pipes over this socket have closed and the port is free. */
  async close(): Promise<void> {
    await this.#socket.close();
  }

  #onMessage(bytes: Buffer, from: UDXAddress): void {
    if (bytes[0] === UDX_MAGIC) return; // a udx packet for a stream that isn't (or is no longer) there
    this.emit('datagram', bytes, { address: sourceAddress(from.host), port: from.port });
  }
}

function isStreamId(id: number): boolean {
  return Number.isInteger(id) && id >= 0 && id <= 0xffff_ffff;
}

/** All sockets share one instance: streams move only between sockets of the same one. Made at first use, since it starts native code. */
function udx(): UDX {
  instance ??= new UDX();
  return instance;
}

let instance: UDX | undefined;
/** udx finds a stream by its id alone, in the whole instance. */
const idsInUse = new Set<number>();

const UDX_MAGIC = 0xff;
