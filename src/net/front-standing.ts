import type { Socket } from 'node:net';
import { LIMITS } from '../core/limits.ts';
import { ALIVE, OPEN, OPENING_TEXT_BYTES, refusedMessage } from '../core/protocol/standing-leg.ts';
import { TokenBucket } from '../core/token-bucket.ts';
import { exporterOf, remoteOf, type Knock } from './knock.ts';

/** An opening that came on an upgraded connection; accepted, that connection is the circuit's leg. */
export interface StandingKnock extends Omit<Knock<Socket>, 'headers'> {
  readonly opening: string;
}

/** From its first byte on, an opening has so long to come whole: byte by byte it would never be idle. */
const OPENING_MS = LIMITS.handshakeStepMs;

/** Upgraded connections that wait for their openings. Until then one is a stranger's, and costs no more than a socket. */
export class StandingLegs {
  readonly #handler: (knock: StandingKnock) => void;
  readonly #admitted: (socket: Socket) => void;
  readonly #waiting = new Set<Socket>();

  /** @param admitted told when an opening was accepted, so that the connection isn't a stranger's any more */
  constructor(handler: (knock: StandingKnock) => void, admitted: (socket: Socket) => void) {
    this.#handler = handler;
    this.#admitted = admitted;
  }

  take(socket: Socket): void {
    const { standingKeepalivesPerSecond: perSecond, standingKeepalivesBurst: burst } = LIMITS;
    const keepalives = new TokenBucket(perSecond, burst, performance.now());
    let opening: NodeJS.Timeout | undefined;
    const read = (): void => {
      while (!opening) {
        const type = (socket.read(1) as Buffer | null)?.[0];
        if (type === undefined) return;
        if (type === OPEN) opening = setTimeout(() => socket.destroy(), OPENING_MS).unref();
        else if (type === ALIVE && keepalives.take(performance.now())) socket.write(Uint8Array.of(ALIVE));
        else return void socket.destroy();
      }
      const text = socket.read(OPENING_TEXT_BYTES) as Buffer | null;
      if (text === null) return;
      clearTimeout(opening);
      socket.off('readable', read);
      if (text.length < OPENING_TEXT_BYTES) socket.destroy();
      else this.#knock(socket, text.toString('latin1'));
    };
    this.#waiting.add(socket);
    socket.once('close', () => {
      clearTimeout(opening);
      this.#waiting.delete(socket);
    });
    socket.setTimeout(LIMITS.standingIdleMs, destroy);
    socket.on('readable', read);
    read();
  }

  /** Ends what carries nothing. */
  drain(): void {
    for (const socket of this.#waiting) socket.destroy();
  }

  #knock(socket: Socket, opening: string): void {
    this.#waiting.delete(socket);
    this.#handler({
      remote: remoteOf(socket),
      exporter: exporterOf(socket),
      opening,
      accept: () => {
        if (socket.destroyed) return undefined;
        socket.setTimeout(0, destroy);
        socket.allowHalfOpen = true;
        this.#admitted(socket);
        socket.write(Uint8Array.of(OPEN));
        return socket;
      },
      refuse: ({ code }) => {
        socket.write(refusedMessage(code));
        // Nobody reads on, so the other side's end wouldn't be noticed behind what it sent.
        socket.destroySoon();
      },
    });
  }
}

function destroy(this: Socket): void {
  this.destroy();
}
