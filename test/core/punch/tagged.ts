import { utf8 } from '../../../src/core/bytes.ts';
import type { SessionRole } from '../../../src/core/session/role.ts';
import type { TcpConnection } from '../../sim/tcp-connection.ts';

/**
 * A simulated connection with what stands for tag and TLS: each end writes its tag, then the initiator speaks and the
 * responder confirms.
 */
export class Tagged {
  onTag: (() => void) | undefined;
  onSecured: (() => void) | undefined;
  onBroken: (() => void) | undefined;
  readonly #socket: TcpConnection;
  readonly #role: SessionRole;
  #received = '';
  #securing = false;
  #spoke = false;

  constructor(socket: TcpConnection, role: SessionRole) {
    this.#socket = socket;
    this.#role = role;
  }

  exchangeTags(): void {
    this.#socket.onData = (bytes) => this.#read(bytes);
    this.#socket.onEnd = () => this.onBroken?.();
    this.#socket.onError = () => this.onBroken?.();
    this.#socket.write(utf8(this.#role[0]!));
  }

  secure(): void {
    this.#securing = true;
    if (!this.#socket.onData) this.exchangeTags();
    this.#advance();
  }

  destroy(): void {
    this.onBroken = undefined;
    this.#socket.destroy();
  }

  #read(bytes: Uint8Array): void {
    const first = this.#received === '';
    this.#received += Buffer.from(bytes).toString();
    if (this.#received.startsWith(this.#role[0]!)) return this.destroy(); // our own tag: a reflection
    if (first) this.onTag?.();
    this.#advance();
  }

  /** The peer's tag is one character, what it says under TLS the second. */
  #advance(): void {
    if (!this.#securing || this.#received === '') return;
    const heard = this.#received.length > 1;
    if (!this.#spoke && (this.#role === 'initiator' || heard)) {
      this.#spoke = true;
      this.#socket.write(utf8('!'));
    }
    if (heard && this.#spoke) this.onSecured?.();
  }
}
