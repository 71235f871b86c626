import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { asSallyportError, SallyportError } from '../../src/core/errors.ts';
import type { StreamPurpose } from '../../src/core/protocol/open.ts';
import type { Place } from './forward-spec.ts';
import { Listener } from './listener.ts';
import { resetConnection } from '../../src/net/reset.ts';
import { splice } from './splice.ts';

/** What a forward needs of a session. */
export interface StreamOpener {
  openPurpose(purpose: StreamPurpose, options?: { signal?: AbortSignal }): Promise<Duplex>;
}

/** Something that listens, until it is closed. */
export interface Listening {
  /** Where: an endpoint, or a path. */
  readonly listen: string;
  close(): Promise<void>;
}

/**
 * Listens for connections, each of which is one stream over there.
 * @param onError told of each connection that could not be carried
 * @throws SallyportError `PORT_IN_USE`, `USAGE`
 */
export async function startForward(
  place: Place,
  purpose: StreamPurpose,
  opener: StreamOpener,
  onError: (error: SallyportError) => void,
  limit?: number,
): Promise<Listening> {
  const carry = (socket: Socket) => {
    carryConnection(socket, () => opener.openPurpose(purpose)).catch((thrown: unknown) =>
      onError(asSallyportError(thrown)),
    );
  };
  return Listener.start(place, carry, onError, limit);
}

/** Joins a connection with the stream that is opened for it, if one is; else resets it. @throws SallyportError why not */
async function carryConnection(socket: Socket, open: () => Promise<Duplex>): Promise<void> {
  try {
    await splice(socket, await open());
  } catch (thrown) {
    resetConnection(socket);
    // A client that hangs up early is no failure of the forward.
    if (thrown instanceof SallyportError) throw thrown;
  }
}
