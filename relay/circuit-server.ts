import { constants, type Http2Session, type ServerHttp2Stream } from 'node:http2';
import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';
import { SallyportError, asSallyportError } from '../src/core/errors.ts';
import type { PeerId } from '../src/core/identity.ts';
import { LIMITS } from '../src/core/limits.ts';
import type { Instant } from '../src/core/machine.ts';
import { readOpening, type TicketOpening } from '../src/core/protocol/ticket.ts';
import { systemClock } from '../src/net/clock.ts';
import { Driver } from '../src/net/driver.ts';
import type { Front } from '../src/net/front.ts';
import type { Knock } from '../src/net/knock.ts';
import { resetConnection } from '../src/net/reset.ts';
import { MAX_CIRCUIT_MESSAGE_BYTES, WebSocketPipe } from '../src/net/websocket-pipe.ts';
import type { CircuitsInput, CircuitsLimits, CircuitsOutput, DropReason, LegId } from './circuit-events.ts';
import { Circuits } from './circuits.ts';
import { Flow } from './splice.ts';

export interface CircuitServerOptions {
  /** This relay, as tickets name it. */
  readonly relay: PeerId;
  /** Whose tickets are honoured; `undefined` while it isn't known, and none is. */
  readonly rendezvous: () => PeerId | undefined;
  /** The rendezvous's clock, milliseconds. */
  readonly now: () => Instant;
  readonly limits?: Partial<CircuitsLimits> | undefined;
}

/** A leg on this side of its carrier. */
interface Leg {
  /** Lets the carrier in; `undefined` when the request was malformed after all. */
  accept(): Duplex | undefined;
  refuse(error: SallyportError): void;
  pipe: Duplex | undefined;
  /** What it sends to its partner, once there is one. */
  flow: Flow | undefined;
}

const PATH = '/v1/circuit';
/** For a connection that carries a splice, instead of HTTP/2's 64 KiB. */
const WINDOW_BYTES = 16 * 1024 * 1024;
/** How long what is left for a leg whose partner has gone may take. */
const FLUSH_MS = 10_000;

/** Takes legs at `/v1/circuit` of a front, by HTTP/1.1 upgrade, HTTP/2 extended CONNECT or WebSocket, and splices them blindly. */
export class CircuitServer {
  readonly #options: CircuitServerOptions;
  readonly #circuits: Circuits;
  readonly #driver: Driver<CircuitsInput, CircuitsOutput>;
  readonly #legs = new Map<LegId, Leg>();
  readonly #widened = new WeakSet<Http2Session>();
  #nextLeg: LegId = 0;

  constructor(front: Front, options: CircuitServerOptions) {
    this.#options = options;
    this.#circuits = new Circuits(options.limits);
    this.#driver = new Driver(this.#circuits, systemClock, (output) => this.#perform(output));
    front.standing(PATH, (knock) => this.#knock(knock, knock.opening, (socket) => socket));
    front.connect(PATH, 'sallyport', (knock) => this.#knock(knock, ticketHeader(knock), (stream) => stream));
    front.webSocket(PATH, MAX_CIRCUIT_MESSAGE_BYTES, (knock) => {
      const toPipe = (socket: WebSocket) => new WebSocketPipe(socket, LIMITS.waitingLegBytes);
      this.#knock(knock, ticketHeader(knock), toPipe);
    });
  }

  /** How many circuits have at least one leg. */
  get size(): number {
    return this.#circuits.size;
  }

  close(): void {
    this.#driver.stop();
    for (const { pipe } of this.#legs.values()) pipe?.destroy();
    this.#legs.clear();
  }

  #knock<Carrier>(
    knock: Omit<Knock<Carrier>, 'headers'>,
    text: string | undefined,
    toPipe: (carrier: Carrier) => Duplex,
  ): void {
    let opening: TicketOpening;
    try {
      opening = this.#read(text, knock.exporter);
    } catch (thrown) {
      knock.refuse(asSallyportError(thrown));
      return;
    }
    const id = this.#nextLeg++;
    this.#legs.set(id, {
      accept: () => {
        const carrier = knock.accept();
        return carrier && toPipe(carrier);
      },
      refuse: (error) => knock.refuse(error),
      pipe: undefined,
      flow: undefined,
    });
    this.#driver.handle({ type: 'open', leg: id, opening });
  }

  /** Its time by our own clock: the rendezvous's may be set while that restarts, and the circuits live on. */
  #read(text: string | undefined, exporter: Uint8Array): TicketOpening {
    const { relay } = this.#options;
    const rendezvous = this.#options.rendezvous();
    const now = this.#options.now();
    if (text === undefined) throw new SallyportError('TICKET_INVALID', 'no ticket');
    if (rendezvous === undefined) throw new SallyportError('TICKET_INVALID', 'no rendezvous is known yet');
    const opening = readOpening(text, { rendezvous, relay, exporter, now });
    const expires = systemClock.now() + opening.ticket.expires - now;
    return { ...opening, ticket: { ...opening.ticket, expires } };
  }

  #perform(output: CircuitsOutput): void {
    switch (output.type) {
      case 'accept':
        return this.#accept(output.leg);
      case 'refuse':
        this.#legs.get(output.leg)?.refuse(output.error);
        this.#legs.delete(output.leg);
        break;
      case 'splice':
        return this.#splice(output.legs);
      case 'drop':
        return this.#drop(output.leg, output.reason);
      case 'pause':
      case 'resume':
        this.#legs.get(output.leg)?.flow?.hold(output.type === 'pause');
        break;
    }
  }

  #accept(id: LegId): void {
    const leg = this.#legs.get(id);
    const pipe = leg?.accept();
    if (!leg || !pipe) return this.#closed(id);
    leg.pipe = pipe;
    pipe.on('error', () => undefined); // 'close' follows
    pipe.on('close', () => this.#closed(id));
  }

  #closed(id: LegId): void {
    if (this.#legs.delete(id)) this.#driver.handle({ type: 'closed', leg: id });
  }

  #splice([first, second]: readonly [LegId, LegId]): void {
    this.#flow(first, second);
    this.#flow(second, first);
  }

  #flow(from: LegId, to: LegId): void {
    const leg = this.#legs.get(from);
    const target = this.#legs.get(to);
    if (!leg?.pipe || !target?.pipe) return;
    widen(leg.pipe, this.#widened);
    leg.flow = new Flow(leg.pipe, target.pipe, (count) => {
      this.#driver.handle({ type: 'bytes', leg: from, count });
    });
  }

  #drop(id: LegId, reason: DropReason): void {
    const pipe = this.#legs.get(id)?.pipe;
    this.#legs.delete(id);
    if (!pipe || pipe.destroyed) return;
    if (reason === 'partner gone') this.#finish(pipe);
    else cancel(pipe);
  }

  /** What was on its way to it still arrives; then it closes with its other end, or when its time is over. */
  #finish(pipe: Duplex): void {
    const linger = systemClock.setTimer(() => pipe.destroy(), FLUSH_MS);
    pipe.once('close', linger);
    const finished = () => isHttp2(pipe) && cancel(pipe);
    pipe.once('finish', finished);
    if (pipe.writableFinished) finished();
    else pipe.end();
  }
}

function ticketHeader({ headers }: Knock<unknown>): string | undefined {
  const text = headers['sallyport-ticket'];
  return typeof text === 'string' ? text : undefined;
}

/** A stranger gets HTTP/2's default windows; only the connection of a leg that has its partner gets large ones. */
function widen(pipe: Duplex, widened: WeakSet<Http2Session>): void {
  const session = (pipe as Partial<ServerHttp2Stream>).session;
  if (!session || widened.has(session)) return;
  widened.add(session);
  session.setLocalWindowSize(WINDOW_BYTES);
  session.settings({ initialWindowSize: WINDOW_BYTES });
}

function cancel(pipe: Duplex): void {
  if (isHttp2(pipe)) pipe.close(constants.NGHTTP2_CANCEL);
  else if (!pipe.writableFinished)
    resetConnection(pipe); // its half-closed end would look like a proper one
  else if (!(pipe instanceof WebSocketPipe)) pipe.destroy(); // a WebSocket that has finished closes by itself
}

function isHttp2(pipe: Duplex): pipe is ServerHttp2Stream {
  return 'rstCode' in pipe;
}
