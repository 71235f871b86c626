import { connect, type Socket } from 'node:net';
import { deliveryTag } from '../core/stun/delivery.ts';
import type { StunReply } from '../core/stun/responder.ts';

/**
 * Delivers replies to RESPONSE-PORT over TCP: dials the port, says which request it answers, and hangs up. Only the
 * address that asked is ever dialled (`StunResponder`).
 */
export class StunDelivery {
  readonly #dialing = new Set<Socket>();

  /** @param request the request that `reply` answers */
  send(request: Uint8Array, { to, bytes }: StunReply): void {
    if (this.#dialing.size >= MAX_DIALS) return;
    const socket = connect({ host: to.address, port: to.port });
    this.#dialing.add(socket);
    socket.setTimeout(PATIENCE_MS, () => socket.destroy());
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#dialing.delete(socket));
    socket.on('connect', () => {
      socket.write(deliveryTag(request));
      socket.end(bytes);
      socket.resume();
    });
  }

  close(): void {
    for (const socket of this.#dialing) socket.destroy();
  }
}

const MAX_DIALS = 64;
const PATIENCE_MS = 2_000;
