import type { Duplex } from 'node:stream';
import { asSallyportError, SallyportError } from '../../src/core/errors.ts';
import type { StreamPurpose } from '../../src/core/protocol/open.ts';
import type { PeerId } from '../../src/core/identity.ts';
import type { SessionStream } from '../../src/net/session-stream.ts';
import type { Destination } from '../exposure.ts';
import type { ListenRequest } from '../listen-permit.ts';
import type { SessionDatagrams } from '../session-datagrams.ts';
import type { Listening } from './forward.ts';
import { serveFlow } from './serve-flow.ts';
import { join } from './splice.ts';
import { dialTarget, dialUdpTarget } from './target.ts';

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
  readonly datagrams: SessionDatagrams;
  /** Decides, or throws the refusal that the opener is told. */
  readonly allow: () => Destination;
  readonly handle: (name: string) => unknown;
  readonly pipe: () => Duplex | undefined;
  readonly listen: (request: ListenRequest) => Promise<Listening>;
  readonly record: (state: 'opened' | 'refused', reason?: string) => void;
}

/**
 * Takes one stream that a peer opened to where it may go. Nothing of this function may outlive that: what its closures
 * hold would be kept for each idle stream.
 */
export function serveStream(options: ServeOptions): void {
  const { stream, purpose, datagrams, allow, handle, pipe, listen, record } = options;
  const fail = (thrown: unknown) => {
    const { code, message } = asSallyportError(thrown);
    stream.reset(code, message);
  };
  const refuse = (thrown: unknown) => {
    if (stream.destroyed) return; // told as closed
    record('refused', asSallyportError(thrown).code);
    fail(thrown);
  };
  const opened = () => record('opened');
  stream.on('error', ignored);
  try {
    const destination = allow();
    switch (destination.to) {
      case 'handler': {
        opened();
        return void (async () => handle(destination.name))().catch(fail);
      }
      case 'pipe': {
        const own = pipe();
        if (!own) throw new SallyportError('LIMIT', "the other side's pipe is in use");
        opened();
        return join(stream.off('error', ignored), own, ignored);
      }
      case 'listener':
        return void listen(destination.request).then(opened, refuse);
      case 'target': {
        const confirm = purpose.for === 'target' && purpose.confirm === true;
        return void serveTarget(stream, destination, confirm, datagrams, opened).catch(refuse);
      }
    }
  } catch (thrown) {
    refuse(thrown);
  }
}

/** @throws SallyportError when the target can't be dialled */
async function serveTarget(
  stream: SessionStream,
  { target, checked }: Extract<Destination, { to: 'target' }>,
  confirm: boolean,
  datagrams: SessionDatagrams,
  opened: () => void,
): Promise<void> {
  if (target.via === 'udp') {
    const socket = await dialUdpTarget(target, checked, stream);
    if (stream.destroyed) return void socket.close();
    opened();
    return serveFlow(stream, socket, datagrams);
  }
  const socket = await dialTarget(target, checked, stream);
  if (stream.destroyed) return void socket.destroy();
  opened();
  if (confirm) stream.write(CONNECTED);
  join(stream.off('error', ignored), socket, ignored);
}

function ignored(): void {}

const CONNECTED = Uint8Array.of(0);
