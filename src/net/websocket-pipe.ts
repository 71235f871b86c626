import { Duplex } from 'node:stream';
import { WebSocket } from 'ws';

/** Of one message; it ends up in as many system calls as there are messages. */
const MESSAGE_BYTES = 64 * 1024;
/** What one write may hold before its writer has to wait. */
const BUFFER_BYTES = 512 * 1024;

/** The largest message a circuit's receiver takes. */
export const MAX_CIRCUIT_MESSAGE_BYTES = 128 * 1024;

/**
 * A WebSocket as a byte pipe: binary messages, their boundaries without meaning, backpressure both ways.
 * A WebSocket can't be closed in one direction: `end` closes both once what was written has left.
 */
export class WebSocketPipe extends Duplex {
  readonly #socket: WebSocket;

  /** @param unreadBytes what may wait for its reader before the sender is held back */
  constructor(socket: WebSocket, unreadBytes = BUFFER_BYTES) {
    super({ readableHighWaterMark: unreadBytes, writableHighWaterMark: BUFFER_BYTES });
    this.#socket = socket;
    socket.binaryType = 'nodebuffer';
    socket.on('message', (data, isBinary) => {
      if (!isBinary) socket.terminate();
      else if (!this.push(data)) socket.pause();
    });
    socket.on('error', () => socket.terminate()); // else it would wait for the other end to close
    socket.on('close', (code) => this.#closed(code));
  }

  override _read(): void {
    if (this.#socket.isPaused) this.#socket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#send([chunk], done);
  }

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this.#send(
      chunks.map(({ chunk }) => chunk),
      done,
    );
  }

  override _final(done: () => void): void {
    this.#socket.close(1000);
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket.terminate();
    done(error);
  }

  /** Done when the last message has been handed to the kernel. */
  #send(chunks: Buffer[], done: (error?: Error | null) => void): void {
    const messages = inMessages(chunks);
    const last = messages.pop();
    if (!last) return done();
    for (const message of messages) this.#socket.send(message, { binary: true }, () => undefined);
    this.#socket.send(last, { binary: true }, (error) => done(error ?? null));
  }

  #closed(code: number): void {
    if (code === 1000) {
      this.push(null);
      this.end();
    } else this.destroy();
  }
}

/** Small chunks together, large ones cut: TLS hands on a record at a time, and each message costs both ends the same. */
function inMessages(chunks: Buffer[]): Buffer[] {
  const messages: Buffer[] = [];
  let gathered: Buffer[] = [];
  let length = 0;
  const flush = (): void => {
    if (length > 0) messages.push(gathered.length === 1 ? gathered[0]! : Buffer.concat(gathered, length));
    gathered = [];
    length = 0;
  };
  for (const chunk of chunks) {
    for (let at = 0; at < chunk.length; at += MESSAGE_BYTES) {
      const part = chunk.subarray(at, at + MESSAGE_BYTES);
      if (length + part.length > MESSAGE_BYTES) flush();
      gathered.push(part);
      length += part.length;
    }
  }
  flush();
  return messages;
}
