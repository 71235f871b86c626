import type { Socket } from 'node:net';
import { sourceAddress } from '../src/core/address.ts';
import { base64url } from '../src/core/bytes.ts';
import { readTag } from '../src/net/tag.ts';

/** A TCP connection that came in, its tag already read. */
export interface TaggedConnection {
  readonly socket: Socket;
  readonly tag: Uint8Array;
  /** On the port that TCP STUN connections hold, rather than on the listener's own. */
  readonly held: boolean;
}

/** Unauthenticated TCP connections at a time, in all and from one address; more are closed at once. */
const MAX_UNTAGGED = 64;
const MAX_UNTAGGED_PER_ADDRESS = 16;

/** Tells incoming TCP connections apart by what they begin with; what nobody waits for is closed. */
export class TaggedConnections {
  readonly #acceptors = new Map<string, (connection: TaggedConnection) => void>();
  /** Addresses of connections whose tag hasn't come yet, one entry each. */
  readonly #untagged: string[] = [];

  /** Connections that begin with `tag` go to `accept`. Returns how to stop it. */
  accept(tag: Uint8Array, accept: (connection: TaggedConnection) => void): () => void {
    const key = base64url(tag);
    this.#acceptors.set(key, accept);
    return () => this.#acceptors.delete(key);
  }

  /** Takes a connection that has come in. */
  async identify(socket: Socket, held: boolean): Promise<void> {
    socket.on('error', () => socket.destroy());
    const address = sourceAddress(socket.remoteAddress ?? '0.0.0.0');
    const sameAddress = this.#untagged.filter((other) => other === address).length;
    if (this.#untagged.length >= MAX_UNTAGGED || sameAddress >= MAX_UNTAGGED_PER_ADDRESS) {
      socket.destroy();
      return;
    }
    this.#untagged.push(address);
    try {
      const tag = await readTag(socket);
      const accept = this.#acceptors.get(base64url(tag));
      if (accept) accept({ socket, tag, held });
      else socket.destroy();
    } catch {
      socket.destroy();
    } finally {
      this.#untagged.splice(this.#untagged.indexOf(address), 1);
    }
  }
}
