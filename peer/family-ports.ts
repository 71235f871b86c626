import { once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import type { Family } from '../src/core/address.ts';
import { bindFailure } from '../src/net/bind-failure.ts';
import { UdpSocket } from '../src/net/udx.ts';
import { WILDCARD } from '../src/net/wildcard.ts';

/** What is bound for one family: its UDP socket, its TCP listener and, while somebody asks for it, one on the held port. */
export class FamilyPorts {
  readonly udp: UdpSocket;
  readonly #family: Family;
  readonly #listener: Server;
  readonly #onConnection: (socket: Socket, held: boolean) => void;
  /** Sessions that want the held port listened on. */
  #heldUsers = 0;
  #held: Server | undefined;

  private constructor(
    family: Family,
    udp: UdpSocket,
    listener: Server,
    onConnection: (socket: Socket, held: boolean) => void,
  ) {
    this.#family = family;
    this.udp = udp;
    this.#listener = listener;
    this.#onConnection = onConnection;
    listener.on('connection', (socket) => onConnection(socket, false));
  }

  /**
   * Leaves nothing open where either can't be had.
   * @param onConnection given what comes in by TCP; `held` on the held port
   */
  static async open(
    family: Family,
    ports: { udp: number; tcp: number },
    onConnection: (socket: Socket, held: boolean) => void,
  ): Promise<FamilyPorts> {
    const udp = UdpSocket.open({ host: WILDCARD[family], port: ports.udp });
    try {
      return new FamilyPorts(family, udp, await listenOn(family, ports.tcp), onConnection);
    } catch (error) {
      await udp.close();
      throw error;
    }
  }

  get udpPort(): number {
    return this.udp.address.port;
  }

  get tcpPort(): number {
    return (this.#listener.address() as AddressInfo).port;
  }

  /** Listens on the held port as well, for as long as anybody asks; no dial can leave from it meanwhile. */
  async listenHeld(port: number | undefined): Promise<void> {
    if (++this.#heldUsers > 1 || port === undefined) return;
    const server = await listenOn(this.#family, port).catch(() => undefined);
    if (!server || this.#heldUsers === 0) return void server?.close();
    server.on('connection', (socket) => this.#onConnection(socket, true));
    this.#held = server;
  }

  stopListeningHeld(): void {
    if (this.#heldUsers === 0 || --this.#heldUsers > 0) return;
    this.#held?.close();
    this.#held = undefined;
  }

  async close(): Promise<void> {
    this.#held?.close();
    this.#listener.close();
    await this.udp.close();
  }
}

async function listenOn(family: Family, port: number): Promise<Server> {
  const server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: false });
  server.listen({ host: WILDCARD[family], port, ipv6Only: family === 6 });
  await once(server, 'listening').catch((cause: unknown) => {
    throw bindFailure(`TCP port ${port} can't be listened on`, cause);
  });
  server.on('error', () => {}); // accept failed for want of descriptors: the next may not
  return server;
}
