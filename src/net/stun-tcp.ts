import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { sourceAddress, sourceOf } from '../core/address.ts';
import type { Endpoint } from '../core/endpoint.ts';
import { LIMITS } from '../core/limits.ts';
import { StunFramer } from '../core/stun/framing.ts';
import type { DialOutcome } from '../core/stun/message.ts';
import type { DialBack, StunReply } from '../core/stun/responder.ts';

interface StunTcpHandlers {
  /** Answers one message that came from `from`; `undefined` for silence. */
  respond(bytes: Uint8Array, from: Endpoint): StunReply | undefined;
  /** Dials back; `contacted` is the address of ours that the request came to. `undefined`: not dialled. */
  dial(dialBack: DialBack, contacted: string): Promise<DialOutcome | undefined>;
}

/** STUN over TCP on one port (RFC 8489 §6.2.2): peers hold a connection, strangers may ask and go. */
export class StunTcpPort {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #perSource = new Map<string, number>();
  readonly #handlers: StunTcpHandlers;

  constructor(handlers: StunTcpHandlers) {
    this.#handlers = handlers;
    this.#server = createServer({ noDelay: true, keepAlive: true });
    this.#server.maxConnections = MAX_CONNECTIONS;
    this.#server.on('connection', (socket) => this.#accept(socket));
  }

  /** Fails with the system's own error. */
  async listen(host: string, port: number): Promise<void> {
    this.#server.listen({ host, port, ipv6Only: host.includes(':') });
    await once(this.#server, 'listening');
    this.#server.on('error', () => {}); // accept failures such as EMFILE concern one connection
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    if (!this.#server.listening) return;
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #accept(socket: Socket): void {
    socket.on('error', () => socket.destroy());
    const { remoteAddress, remotePort } = socket;
    if (remoteAddress === undefined || remotePort === undefined) return void socket.destroy();
    const from = { address: sourceAddress(remoteAddress), port: remotePort };
    if (!this.#admit(socket, sourceOf(from.address))) return void socket.destroy();
    const framer = new StunFramer();
    let patience = setTimeout(() => socket.destroy(), STRANGER_IDLE_MS);
    socket.on('close', () => clearTimeout(patience));
    socket.on('drain', () => socket.resume());
    socket.on('data', (chunk) => {
      const replies = this.#repliesTo(framer, chunk, from);
      if (!replies) return void socket.destroy();
      if (replies.some(({ authenticated }) => authenticated)) {
        clearTimeout(patience);
        patience = setTimeout(() => socket.destroy(), PEER_IDLE_MS);
      }
      for (const reply of replies) this.#send(reply, socket);
      if (socket.writableNeedDrain) socket.pause();
    });
  }

  #send({ bytes, dialBack }: StunReply, socket: Socket): void {
    if (!dialBack) return void socket.write(bytes);
    void this.#handlers.dial(dialBack, socket.localAddress ?? '').then((outcome) => {
      if (socket.writable) socket.write(outcome ? dialBack.answer(outcome) : bytes);
    });
  }

  /** `undefined` where the bytes aren't STUN. */
  #repliesTo(framer: StunFramer, chunk: Uint8Array, from: Endpoint): StunReply[] | undefined {
    try {
      return framer.push(chunk).flatMap((message) => this.#handlers.respond(message, from) ?? []);
    } catch {
      return undefined;
    }
  }

  #admit(socket: Socket, source: string): boolean {
    const open = this.#perSource.get(source) ?? 0;
    if (open >= LIMITS.connectionsPerAddress) return false;
    this.#perSource.set(source, open + 1);
    this.#sockets.add(socket);
    socket.on('close', () => {
      this.#sockets.delete(socket);
      const left = this.#perSource.get(source)! - 1;
      if (left === 0) this.#perSource.delete(source);
      else this.#perSource.set(source, left);
    });
    return true;
  }
}

const MAX_CONNECTIONS = 4_096;
/** A stranger's connection lives this long, whatever it sends. */
const STRANGER_IDLE_MS = 10_000;
/** Since the last authenticated request. */
const PEER_IDLE_MS = 600_000;
