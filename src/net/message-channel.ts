import type { Socket } from 'node:net';
import type { WebSocket } from 'ws';
import { SallyportError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import {
  CLOSE_ABANDONED,
  decodeToNode,
  encodeMessage,
  type ToNode,
  type ToRendezvous,
} from '../core/protocol/rendezvous.ts';
import { upgrade } from './websocket-client.ts';

/** One WebSocket to a rendezvous, typed. Messages wait until somebody receives them or `deliver` is set. */
export class MessageChannel {
  readonly #socket: WebSocket;
  readonly #queue: ToNode[] = [];
  #waiting: { resolve: (message: ToNode) => void; reject: (error: Error) => void } | undefined;
  #deliver: ((message: ToNode) => void) | undefined;
  #closed: SallyportError | undefined;
  #onClose: ((why: SallyportError) => void) | undefined;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.binaryType = 'nodebuffer';
    socket.on('message', (data, isBinary) => this.#receive(data as Buffer, isBinary));
    socket.on('error', () => socket.terminate()); // else it would wait for the other end to close
    socket.on('close', () => this.#end(lost('the connection was closed')));
  }

  /**
   * Upgrades `connection`, which leads to `url` already.
   * @param headers of the request
   * @throws SallyportError `RENDEZVOUS_UNREACHABLE`
   */
  static open(
    connection: Socket,
    url: URL,
    timeoutMs: number,
    headers: Record<string, string> = {},
  ): Promise<MessageChannel> {
    return new Promise((resolve, reject) => {
      const maxPayload = LIMITS.controlMessageBytes;
      const socket = upgrade(connection, url, timeoutMs, { maxPayload, headers });
      const fail = (cause: Error) => reject(noWebSocket(url, cause));
      socket.once('error', fail);
      const channel = new MessageChannel(socket);
      socket.once('open', () => resolve(channel));
    });
  }

  send(message: ToRendezvous): void {
    this.#socket.send(encodeMessage(message), { binary: true }, () => undefined);
  }

  /** The next message. @throws SallyportError `RENDEZVOUS_UNREACHABLE`, `PROTOCOL_ERROR`, `TIMEOUT` */
  receive(timeoutMs: number): Promise<ToNode> {
    const queued = this.#queue.shift();
    if (queued) return Promise.resolve(queued);
    if (this.#closed) return Promise.reject(this.#closed);
    return new Promise((resolve, reject) => {
      const late = () => this.#end(new SallyportError('TIMEOUT', 'the rendezvous fell silent'));
      const timer = setTimeout(late, timeoutMs);
      const settle = <Value>(use: (value: Value) => void) => {
        return (value: Value) => {
          clearTimeout(timer);
          this.#waiting = undefined;
          use(value);
        };
      };
      this.#waiting = { resolve: settle(resolve), reject: settle(reject) };
    });
  }

  /** From here on every message goes to `deliver`, those queued first, and the end to `onClose`. */
  run(deliver: (message: ToNode) => void, onClose: (why: SallyportError) => void): void {
    this.#deliver = deliver;
    for (const message of this.#queue.splice(0)) deliver(message);
    this.#onClose = onClose;
    if (this.#closed) onClose(this.#closed);
  }

  /** Closes properly; the channel says nothing any more. */
  close(): void {
    this.#silence();
    this.#socket.close(1000);
  }

  /** Drops a connection that may be dead, in one direction perhaps: then the rendezvous hears that this process lives. */
  abandon(): void {
    this.#silence();
    this.#socket.close(CLOSE_ABANDONED);
    setTimeout(() => this.#socket.terminate(), ABANDONED_MS).unref();
  }

  #silence(): void {
    this.#deliver = () => undefined;
    this.#onClose = undefined;
  }

  #receive(data: Buffer, isBinary: boolean): void {
    let message: ToNode;
    try {
      if (!isBinary) throw new SallyportError('PROTOCOL_ERROR', 'the rendezvous sent text');
      message = decodeToNode(data);
    } catch (error) {
      this.#end(error as SallyportError);
      return;
    }
    if (this.#waiting) this.#waiting.resolve(message);
    else if (this.#deliver) this.#deliver(message);
    else if (this.#queue.push(message) > LIMITS.queuedMessagesPerClient) this.#end(lost('too many messages'));
  }

  #end(why: SallyportError): void {
    if (this.#closed) return;
    this.#closed = why;
    this.#socket.terminate();
    this.#waiting?.reject(why);
    this.#onClose?.(why);
  }
}

/** The last frame has left by then, where anything leaves. */
const ABANDONED_MS = 500;

function noWebSocket(url: URL, cause: NodeJS.ErrnoException): SallyportError {
  const scheme = url.protocol === 'http:' ? '; the URL of one with a certificate begins with https://' : '';
  const full = cause.code === 'ECONNRESET' ? ', which may have too many connections from this address' : '';
  return new SallyportError('RENDEZVOUS_UNREACHABLE', `no WebSocket at ${url.host}: ${cause.message}`, {
    hint: `check that this is the URL of a rendezvous${full}${scheme}`,
    cause,
  });
}

function lost(message: string): SallyportError {
  return new SallyportError('RENDEZVOUS_UNREACHABLE', message);
}
