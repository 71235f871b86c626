import { Duplex } from 'node:stream';
import { WebSocket } from 'ws';

const FRAME_BYTES = 64 * 1024;
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
    socket.on('error', () => undefined); // 'close' follows
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

  /** One message a chunk, longer ones cut; done when the last has been handed to the kernel. */
  #send(chunks: Buffer[], done: (error?: Error | null) => void): void {
    const frames = chunks.flatMap(inFrames);
    const last = frames.pop();
    if (!last) return done();
    for (const frame of frames) this.#socket.send(frame, { binary: true }, () => undefined);
    this.#socket.send(last, { binary: true }, (error) => done(error ?? null));
  }

  #closed(code: number): void {
    if (code === 1000) {
      this.push(null);
      this.end();
    } else this.destroy();
  }
}

function inFrames(chunk: Buffer): Buffer[] {
  if (chunk.length <= FRAME_BYTES) return [chunk];
  const frames: Buffer[] = [];
  for (let at = 0; at < chunk.length; at += FRAME_BYTES) frames.push(chunk.subarray(at, at + FRAME_BYTES));
  return frames;
}
