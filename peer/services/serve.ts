import type { Duplex } from 'node:stream';
import { asSallyportError, SallyportError } from '../../src/core/errors.ts';
import type { PeerId } from '../../src/core/identity.ts';
import { purposeText, type StreamPurpose } from '../../src/core/protocol/open.ts';
import type { SessionStream } from '../../src/net/session-stream.ts';
import type { Destination } from '../exposure.ts';
import { splice } from './splice.ts';
import { dialTarget } from './target.ts';

/** What a stream was, for the audit: one line each. */
export interface StreamRecord {
  readonly peer: PeerId;
  readonly what: string;
  readonly state: 'opened' | 'closed' | 'refused';
  readonly reason: string | undefined;
  /** Bytes to and from the peer so far. */
  readonly sent: number;
  readonly received: number;
}

export interface ServeOptions {
  readonly stream: SessionStream;
  readonly purpose: StreamPurpose;
  readonly peer: PeerId;
  /** Decides, or throws the refusal that the opener is told. */
  readonly allow: () => Destination;
  readonly handle: (name: string) => void;
  readonly pipe: () => Duplex | undefined;
  readonly record: (record: StreamRecord) => void;
}

/** Takes one stream that a peer opened to where it may go, and keeps the audit: who, what, when, bytes. */
export function serveStream({ stream, purpose, peer, allow, handle, pipe, record }: ServeOptions): void {
  const count = countBytes(stream);
  const tell = (state: StreamRecord['state'], reason?: string) =>
    record({ peer, what: purposeText(purpose), state, reason, ...count() });
  let refused = false;
  const refuse = (thrown: unknown) => {
    const error = asSallyportError(thrown);
    refused = true;
    tell('refused', error.code);
    stream.reset(error.code, error.message);
  };
  stream.on('error', () => {});
  stream.once('close', () => {
    if (!refused) tell('closed', stream.errored?.message);
  });
  try {
    const destination = allow();
    switch (destination.to) {
      case 'handler':
        tell('opened');
        return handle(destination.name);
      case 'pipe': {
        const own = pipe();
        if (!own) throw new SallyportError('LIMIT', "the other side's pipe is in use");
        tell('opened');
        return void splice(stream, own).catch(() => {});
      }
      case 'target':
        return void dialTarget(destination).then((socket) => {
          tell('opened');
          if (stream.destroyed) return socket.destroy();
          splice(stream, socket).catch(() => {});
        }, refuse);
    }
  } catch (thrown) {
    refuse(thrown);
  }
}

/** Counts without touching the data: what was pushed to the reader, what was accepted from the writer. */
function countBytes(stream: SessionStream): () => { sent: number; received: number } {
  return () => ({ sent: stream.bytesSent, received: stream.bytesReceived });
}
