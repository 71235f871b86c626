import type { SessionEnd, SessionInput, SessionOutput } from '../../../src/core/session/events.ts';
import { encodeHeader, FrameType } from '../../../src/core/session/frame.ts';
import { encodeAttachment } from '../../../src/core/session/payload.ts';
import { SessionMachine } from '../../../src/core/session/session.ts';

/** A session machine as responder, and a peer that says whatever the test wants. */
export class RawPeer {
  readonly machine: SessionMachine;
  readonly sent: Buffer[] = [];
  readonly outputs: SessionOutput[] = [];
  now = 0;
  #sequence = 0;

  constructor(options: Partial<ConstructorParameters<typeof SessionMachine>[0]> = {}) {
    this.machine = new SessionMachine({ role: 'responder', sessionId: Buffer.alloc(16), ...options }, 0);
    this.machine.handle({ type: 'path-up', path: { id: 1, kind: 'tcp', direct: true } }, 0);
    this.attach();
    this.raw(encodeHeader(FrameType.ACTIVE, 0, 0, 0));
  }

  attach(changes: Partial<Parameters<typeof encodeAttachment>[0]> = {}): void {
    const payload = encodeAttachment({
      role: 'initiator',
      epoch: 0,
      sessionId: Buffer.alloc(16),
      ...changes,
    });
    this.raw(Buffer.concat([encodeHeader(FrameType.ATTACH, payload.length, 1, 0), payload]));
  }

  send(type: number, stream: number, payload: Uint8Array = new Uint8Array(0)): void {
    this.raw(Buffer.concat([encodeHeader(type, payload.length, stream, this.#sequence), payload]));
    this.#sequence += 1;
  }

  raw(bytes: Uint8Array): void {
    this.now += 1;
    this.handle({ type: 'path-bytes', path: 1, bytes });
  }

  /** Acknowledges all that was sent. */
  acknowledge(): void {
    this.raw(encodeHeader(FrameType.ACK, 0, 0, this.machine.stats.framesSent));
  }

  handle(input: SessionInput): void {
    this.machine.handle(input, this.now);
    this.#drain();
  }

  /** Lets so many milliseconds pass, timers and all. */
  pass(ms: number): void {
    for (const end = this.now + ms; this.now < end; this.now += 1) {
      if ((this.machine.deadline ?? Infinity) > this.now) continue;
      this.machine.handleTimeout(this.now);
      this.#drain();
    }
  }

  get closed(): SessionEnd | undefined {
    return this.outputs.flatMap((output) => (output.type === 'closed' ? [output.end] : []))[0];
  }

  /** The streams that frames of one type named. */
  framesOfType(type: number): number[] {
    const bytes = Buffer.concat(this.sent);
    const streams: number[] = [];
    for (let at = 0; at < bytes.length; at += 16 + bytes.readUIntBE(at + 1, 3)) {
      if (bytes[at] === type) streams.push(bytes.readUInt32BE(at + 4));
    }
    return streams;
  }

  /** Whatever is sent has left at once. */
  #drain(): void {
    for (let output = this.machine.poll(); output; output = this.machine.poll()) {
      this.outputs.push(output);
      if (output.type !== 'transmit') continue;
      this.sent.push(Buffer.concat(output.chunks));
      this.machine.handle({ type: 'path-written', path: 1, bytes: output.bytes }, this.now);
    }
  }
}
