import { request } from 'node:http';
import type { Socket } from 'node:net';
import { concat } from '../core/bytes.ts';
import { SallyportError, isErrorCode } from '../core/errors.ts';
import { ALIVE, OPEN, openMessage, REFUSED, UPGRADE_TOKEN } from '../core/protocol/standing-leg.ts';
import type { Clock } from './clock.ts';
import type { OriginSocket } from './origin.ts';

/** How long an answer to the upgrade may take; a middlebox that swallows it shall not cost more. */
const UPGRADE_MS = 2_000;
/** How long the relay may take to open a leg. */
const OPEN_MS = 5_000;
const PING_MS = 15_000;
const PONG_MS = 5_000;
const MAX_CODE_LENGTH = 64;

/** An upgraded HTTP/1.1 connection to a relay that stands ready to be one leg; opened, it is that leg, kernel socket and all. */
export class StandingLeg {
  /** Of the connection that it stands on. */
  readonly exporter: Uint8Array;
  readonly #socket: Socket;
  readonly #clock: Clock;
  #cancelTimer: () => void = () => {};
  #proven = false;
  readonly #onReadable = () => this.#pong();

  private constructor({ socket, exporter }: OriginSocket, clock: Clock) {
    this.#socket = socket;
    this.exporter = exporter;
    this.#clock = clock;
    socket.on('error', () => undefined); // 'close' follows
    socket.once('close', () => this.#cancelTimer());
    socket.on('readable', this.#onReadable);
    this.#ping();
  }

  /** `undefined` where the upgrade doesn't get through. */
  static open(origin: OriginSocket, url: URL, clock: Clock): Promise<StandingLeg | undefined> {
    const { socket } = origin;
    return new Promise((resolve) => {
      const give = (leg?: StandingLeg) => {
        cancel();
        if (!leg) socket.destroy();
        resolve(leg);
      };
      const cancel = clock.setTimer(() => give(), UPGRADE_MS);
      const asked = request({
        createConnection: () => socket,
        path: '/v1/circuit',
        headers: { host: url.host, connection: 'Upgrade', upgrade: UPGRADE_TOKEN },
      });
      asked.once('upgrade', (_response, _socket, head) => {
        if (head.length > 0) socket.unshift(head);
        give(new StandingLeg(origin, clock));
      });
      asked.once('response', () => give()); // a page instead
      asked.on('error', () => give());
      asked.end();
    });
  }

  get usable(): boolean {
    return !this.#socket.destroyed && this.#socket.writable;
  }

  /** The relay was heard since the upgrade: nothing on the way keeps back what isn't HTTP. */
  get proven(): boolean {
    return this.#proven;
  }

  onClose(fn: () => void): void {
    this.#socket.once('close', fn);
  }

  /**
   * Resolves with the circuit's leg once the relay has opened it; with nothing where the connection was dead already, as after
   * a change of address that nobody has told of.
   * @param greeting the circuit's first bytes from here; they leave with the opening
   * @throws SallyportError `TICKET_INVALID`, `TICKET_EXPIRED`, `LIMIT`, `RATE_LIMITED`, `RELAY_UNREACHABLE`
   */
  async open(opening: string, greeting: Uint8Array): Promise<Socket | undefined> {
    const socket = this.#socket;
    this.#cancelTimer();
    socket.off('readable', this.#onReadable);
    socket.allowHalfOpen = true;
    socket.write(concat(openMessage(opening), greeting));
    let late = false;
    const cancel = this.#clock.setTimer(() => {
      late = true;
      socket.destroy();
    }, OPEN_MS);
    try {
      const type = await outcome(socket);
      this.#proven ||= type !== undefined;
      if (type === OPEN) return socket;
      if (type === undefined && !late) {
        socket.destroy(); // its end alone leaves ours open
        return undefined;
      }
      throw type === REFUSED ? await refusalOn(socket) : unreachable('the relay did not open the circuit');
    } catch (error) {
      socket.destroy();
      throw error;
    } finally {
      cancel();
    }
  }

  close(): void {
    this.#socket.destroy();
  }

  #ping(): void {
    this.#socket.write(Uint8Array.of(ALIVE));
    this.#cancelTimer = this.#clock.setTimer(() => this.close(), PONG_MS);
  }

  #pong(): void {
    const type = (this.#socket.read(1) as Buffer | null)?.[0];
    if (type === undefined) return;
    this.#proven = true;
    this.#cancelTimer();
    if (type === ALIVE) this.#cancelTimer = this.#clock.setTimer(() => this.#ping(), PING_MS);
    else this.close();
  }
}

/** What the relay says to an opening, after answers to what it was asked before; `undefined` at the end. */
async function outcome(socket: Socket): Promise<number | undefined> {
  for (;;) {
    const type = await nextByte(socket);
    if (type !== ALIVE) return type;
  }
}

async function refusalOn(socket: Socket): Promise<SallyportError> {
  let text = '';
  for (let byte = await nextByte(socket); byte !== undefined; byte = await nextByte(socket)) {
    text += String.fromCharCode(byte);
    if (text.length > MAX_CODE_LENGTH) break;
  }
  if (!isErrorCode(text)) return unreachable('the relay refused without a reason');
  return new SallyportError(text, `the relay refused the circuit: ${text}`);
}

/** What comes behind it stays in the socket; `undefined` at the end. */
function nextByte(socket: Socket): Promise<number | undefined> {
  return new Promise((resolve) => {
    const read = () => {
      const byte = (socket.read(1) as Buffer | null)?.[0];
      if (byte === undefined && !socket.readableEnded && !socket.destroyed) return;
      socket.off('readable', read).off('end', read).off('close', read);
      resolve(byte);
    };
    socket.on('readable', read).on('end', read).on('close', read);
    read();
  });
}

function unreachable(message: string): SallyportError {
  return new SallyportError('RELAY_UNREACHABLE', message);
}
