import type { Socket as UdpSocket } from 'node:dgram';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { familyOfAddress } from '../../src/core/address.ts';
import { formatEndpoint } from '../../src/core/endpoint.ts';
import { SallyportError } from '../../src/core/errors.ts';
import { LIMITS } from '../../src/core/limits.ts';
import { placeText, type Place } from './forward-spec.ts';
import { enlargeBuffers } from '../../src/net/enlarge-buffers.ts';
import { listenFailure } from '../../src/net/listen-failure.ts';
import { resetConnection } from '../../src/net/reset.ts';

/** Accepts the connections of one forward, on a port or a Unix socket, up to a limit at a time. */
export class Listener {
  /** Where it listens: an endpoint, or a path. */
  readonly listen: string;
  #server: Server;
  #connections = new Set<Socket>();

  private constructor(server: Server) {
    this.#server = server;
    const at = server.address() as AddressInfo | string;
    this.listen = typeof at === 'string' ? at : formatEndpoint(at);
  }

  /**
   * @param carry given each connection
   * @param onError told of what can't be accepted
   * @throws SallyportError `PORT_IN_USE`, `USAGE`
   */
  static async start(
    place: Place,
    carry: (socket: Socket) => void,
    onError: (error: SallyportError) => void,
    limit: number = LIMITS.connectionsPerForward,
  ): Promise<Listener> {
    const server = createServer({ allowHalfOpen: true, noDelay: true });
    await listening(server, place);
    const listener = new Listener(server);
    server.on('error', (cause) => onError(acceptError(listener.listen, cause)));
    // Shared by all connections: an idle one shall hold little.
    const closed = function (this: Socket) {
      listener.#connections.delete(this);
    };
    server.on('connection', (socket) => {
      if (listener.#connections.size >= limit) {
        resetConnection(socket);
        return onError(tooMany(listener.listen, limit));
      }
      listener.#connections.add(socket);
      socket.on('close', closed).on('error', destroyed);
      carry(socket);
    });
    return listener;
  }

  async close(): Promise<void> {
    for (const socket of this.#connections) resetConnection(socket);
    await new Promise((resolve) => {
      this.#server.close(resolve);
    });
  }
}

/** A UDP socket on a port. @throws SallyportError `PORT_IN_USE`, `USAGE` */
export async function bindUdp(place: { bind: string; port: number }): Promise<UdpSocket> {
  const address = addressOf(place.bind);
  const socket = createSocket(familyOfAddress(address) === 6 ? 'udp6' : 'udp4');
  socket.bind(place.port, address);
  await once(socket, 'listening').catch((cause: NodeJS.ErrnoException) => {
    socket.close();
    throw listenError(place, cause);
  });
  enlargeBuffers(socket);
  return socket;
}

async function listening(server: Server, place: Place): Promise<void> {
  if ('path' in place) {
    // As openssh: for this user only, and whatever stands there already is left alone.
    const mask = process.umask(0o177);
    server.listen(place.path);
    process.umask(mask);
  } else {
    server.listen({ host: addressOf(place.bind), port: place.port });
  }
  await once(server, 'listening').catch((cause: NodeJS.ErrnoException) => {
    throw listenError(place, cause);
  });
}

/** As in ssh, `*` is every address, of both families. */
function addressOf(bind: string): string {
  return bind === '*' ? '::' : bind;
}

function listenError(place: Place, cause: NodeJS.ErrnoException): SallyportError {
  const { code } = cause;
  const where = placeText(place);
  if (code === 'EADDRINUSE' && 'path' in place) {
    return new SallyportError('PORT_IN_USE', `there is a file at ${where} already`, {
      hint: 'choose another path, or remove it if nothing uses it',
      cause,
    });
  }
  if (code === 'EADDRINUSE' && 'port' in place) {
    return new SallyportError('PORT_IN_USE', `port ${place.port} on ${place.bind} is in use`, {
      hint: 'choose another port, or 0 for any',
      cause,
    });
  }
  return listenFailure(where, cause, 'path' in place ? PATH_HINTS : {});
}

/** libuv says EACCES as well where there is no such folder. */
const PATH_HINTS = { EACCES: 'its folder has to be there, and this user’s to write to' };

function destroyed(this: Socket): void {
  this.destroy();
}

/**
 * Out of file descriptors, mostly, and seldom told: libuv keeps one descriptor back, with which it accepts each connection that there is
 * none for and closes it at once. Only where that one is gone too, the connection waits in the kernel.
 */
function acceptError(where: string, cause: NodeJS.ErrnoException): SallyportError {
  return new SallyportError('LIMIT', `can't accept on ${where} (${cause.code ?? cause.message})`, { cause });
}

function tooMany(where: string, limit: number): SallyportError {
  return new SallyportError('LIMIT', `${where} has ${limit} connections at once`, {
    hint: 'close some; if nobody made so many, the forward leads back to itself',
  });
}
