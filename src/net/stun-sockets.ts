import type { Socket } from 'node:net';
import { resetConnection } from './reset.ts';

type Event =
  | { readonly type: 'data'; readonly connection: number; readonly bytes: Uint8Array }
  | { readonly type: 'closed'; readonly connection: number };

/** The open connections to STUN servers of one machine, by the numbers that it gave them. None keeps the process alive. */
export class StunSockets {
  readonly #sockets = new Map<number, Socket>();
  readonly #handle: (event: Event) => void;

  /** @param handle takes what comes in, and the end of a connection unless it was reset here */
  constructor(handle: (event: Event) => void) {
    this.#handle = handle;
  }

  get connections(): number[] {
    return [...this.#sockets.keys()];
  }

  add(connection: number, socket: Socket): void {
    const closed = (): void => {
      if (this.#sockets.delete(connection)) this.#handle({ type: 'closed', connection });
      socket.destroy();
    };
    this.#sockets.set(connection, socket);
    socket.unref();
    socket.on('data', (bytes) => this.#handle({ type: 'data', connection, bytes }));
    socket.on('end', closed).on('close', closed);
  }

  write(connection: number, bytes: Uint8Array): void {
    this.#sockets.get(connection)?.write(bytes);
  }

  reset(connection: number): void {
    const socket = this.#sockets.get(connection);
    this.#sockets.delete(connection);
    if (socket) resetConnection(socket);
  }
}
