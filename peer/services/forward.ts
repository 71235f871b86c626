import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { SallyportError } from '../../src/core/errors.ts';
import type { StreamPurpose } from '../../src/core/protocol/open.ts';
import type { Place } from './forward-spec.ts';
import { leadingTo } from './leading-to.ts';
import { Listener } from './listener.ts';
import { resetConnection } from '../../src/net/reset.ts';
import { join } from './splice.ts';

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
  const failed = (error: unknown) => {
    // A client that hangs up early is no failure of the forward.
    if (error instanceof SallyportError) onError(leadingTo(purpose, error));
  };
  const carry = (socket: Socket) => {
    opener.openPurpose(purpose).then(
      (stream) => join(socket, stream, failed),
      (thrown: unknown) => {
        resetConnection(socket);
        failed(thrown);
      },
    );
  };
  return Listener.start(place, carry, onError, limit);
}
