import type { WebSocket } from 'ws';
import { SallyportError, asSallyportError } from '../src/core/errors.ts';
import { LIMITS } from '../src/core/limits.ts';
import {
  CLOSE_ABANDONED,
  decodeToRendezvous,
  encodeMessage,
  HELLO_HEADER,
  type ToNode,
} from '../src/core/protocol/rendezvous.ts';
import { TokenBucket } from '../src/core/token-bucket.ts';
import type { Clock } from '../src/net/clock.ts';
import { Driver } from '../src/net/driver.ts';
import type { Front } from '../src/net/front.ts';
import type { Knock } from '../src/net/knock.ts';
import { Registry } from './registry.ts';
import type { ConnectionId, RegistryInput, RegistryOptions, RegistryOutput } from './registry-events.ts';

interface Client {
  readonly connection: ConnectionId;
  readonly socket: WebSocket;
  /** Messages not yet handed to the kernel; of one that was, we hear only when this turn is over. */
  queued: number;
  /** What came ahead of its WebSocket. It comes again as the first message, for a rendezvous that knows nothing of this. */
  early?: Buffer | undefined;
  /** Once it has registered, longer messages are taken. */
  admitted: boolean;
  /** Asked for a sign of life. One that nobody asked for would cost a stranger little, and the registry a look at everybody. */
  probed: boolean;
}

/** WebSocket close codes (RFC 6455 §7.4): policy, unsupported data, overload. */
const CLOSE_REFUSED = 1008;
const CLOSE_BUSY = 1013;
/** How long a closed connection may take to say good-bye. */
const CLOSE_MS = 2_000;
/** WebSocket pings and pongs: nodes send none but answers to `probe`. */
const CONTROL_FRAMES = { perSecond: 1, burst: 32 };

/** The registry behind `/v1/signal`: one WebSocket a node, one message a frame. */
export class SignalServer {
  readonly registry: Registry;
  readonly #clock: Clock;
  readonly #driver: Driver<RegistryInput, RegistryOutput>;
  readonly #clients = new Map<ConnectionId, Client>();
  readonly #onEvent: (output: RegistryOutput) => void;
  #nextConnection: ConnectionId = 0;

  /** @param onEvent hears of every `joined` and `left`, and of every connection that is refused */
  constructor(
    front: Front,
    options: RegistryOptions,
    clock: Clock,
    onEvent: (output: RegistryOutput) => void,
  ) {
    this.registry = new Registry(options);
    this.#clock = clock;
    this.#onEvent = onEvent;
    this.#driver = new Driver(this.registry, clock, (output) => this.#perform(output));
    front.webSocket('/v1/signal', LIMITS.controlMessageBytes, (knock) => this.#connected(knock));
  }

  drain(): void {
    this.#driver.handle({ type: 'drain' });
  }

  close(): void {
    this.#driver.stop();
    for (const { socket } of this.#clients.values()) socket.terminate();
    this.#clients.clear();
  }

  #connected(knock: Knock<WebSocket>): void {
    const socket = knock.accept();
    if (!socket) return;
    const connection = this.#nextConnection++;
    this.#clients.set(connection, { connection, socket, queued: 0, admitted: false, probed: false });
    socket.binaryType = 'nodebuffer';
    socket.on('message', (data, isBinary) => this.#receive(connection, data as Buffer, isBinary));
    socket.on('pong', () => this.#answered(connection));
    boundControlFrames(socket);
    socket.on('close', (code) => this.#closed(connection, code));
    const arrival = { observed: knock.remote, exporter: knock.exporter };
    this.#driver.handle({ type: 'connected', connection, arrival });
    this.#receiveEarly(connection, knock.headers[HELLO_HEADER]);
  }

  #receiveEarly(connection: ConnectionId, header: string | string[] | undefined): void {
    const client = this.#clients.get(connection);
    if (!client || typeof header !== 'string') return;
    const early = Buffer.from(header, 'base64url');
    this.#receive(connection, early, true);
    client.early = early;
  }

  #receive(connection: ConnectionId, data: Buffer, isBinary: boolean): void {
    const client = this.#clients.get(connection);
    if (!client) return;
    const { early } = client;
    client.early = undefined;
    if (early?.equals(data)) return;
    try {
      if (!isBinary) throw new SallyportError('PROTOCOL_ERROR', 'messages are binary');
      if (!client.admitted && data.length > LIMITS.preAuthBytes)
        throw new SallyportError('LIMIT', 'too long');
      const message = decodeToRendezvous(data);
      this.#driver.handle({ type: 'message', connection, message });
    } catch (thrown) {
      const { code, message } = asSallyportError(thrown);
      this.#send(client, { t: 'error', code, message: message.slice(0, 300) });
      this.#driver.handle({ type: 'rejected', connection });
      this.#close(connection, CLOSE_REFUSED);
    }
  }

  #answered(connection: ConnectionId): void {
    const client = this.#clients.get(connection);
    if (!client?.probed) return;
    client.probed = false;
    this.#driver.handle({ type: 'alive', connection });
  }

  #closed(connection: ConnectionId, code: number): void {
    const type = code === CLOSE_ABANDONED ? 'abandoned' : 'disconnected';
    if (this.#clients.delete(connection)) this.#driver.handle({ type, connection });
  }

  #perform(output: RegistryOutput): void {
    switch (output.type) {
      case 'send': {
        const client = this.#clients.get(output.connection);
        if (client && output.message.t === 'registered') client.admitted = true;
        if (client) this.#send(client, output.message);
        break;
      }
      case 'close':
        if (output.error) this.#onEvent(output);
        this.#close(output.connection, CLOSE_REFUSED);
        break;
      case 'probe': {
        const client = this.#clients.get(output.connection);
        if (client) client.probed = true;
        client?.socket.ping();
        break;
      }
      case 'joined':
      case 'left':
        this.#onEvent(output);
        break;
    }
  }

  #send(client: Client, message: ToNode): void {
    client.queued += 1;
    if (client.queued === LIMITS.queuedMessagesPerClient) setImmediate(() => this.#judge(client));
    client.socket.send(encodeMessage(message), { binary: true }, () => {
      client.queued -= 1;
    });
  }

  /** A node that others sent much at once may keep up; one for which as much still waits a turn later doesn't. */
  #judge({ connection, queued }: Client): void {
    if (queued < LIMITS.queuedMessagesPerClient) return;
    this.#driver.handle({ type: 'rejected', connection });
    this.#close(connection, CLOSE_BUSY);
  }

  #close(connection: ConnectionId, code: number): void {
    const client = this.#clients.get(connection);
    if (!client) return;
    this.#clients.delete(connection);
    client.socket.close(code);
    const late = this.#clock.setTimer(() => client.socket.terminate(), CLOSE_MS);
    client.socket.once('close', late);
    let more = 0;
    client.socket.on('message', () => {
      more += 1; // one that doesn't hear, and goes on, would have us read all that until its time is over
      if (more > LIMITS.queuedMessagesPerClient) client.socket.terminate();
    });
  }
}

function boundControlFrames(socket: WebSocket): void {
  const frames = new TokenBucket(CONTROL_FRAMES.perSecond, CONTROL_FRAMES.burst, performance.now());
  const spend = () => {
    if (!frames.take(performance.now())) socket.terminate();
  };
  socket.on('ping', spend);
  socket.on('pong', spend);
}
