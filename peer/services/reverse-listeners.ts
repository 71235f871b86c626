import { SallyportError } from '../../src/core/errors.ts';
import { formatEndpoint } from '../../src/core/endpoint.ts';
import { LIMITS } from '../../src/core/limits.ts';
import type { SessionStream } from '../../src/net/session-stream.ts';
import type { ListenRequest } from '../listen-permit.ts';
import { Quota } from '../quota.ts';
import type { Session } from '../session.ts';
import type { Listening } from './forward.ts';
import { listenFor } from './reverse.ts';

interface Held {
  readonly session: Session;
  readonly stream: SessionStream;
  readonly transport: ListenRequest['transport'];
  readonly listening: Listening;
}

/**
 * Where peers have this one listen: each place for as long as the stream of its request lives, or until the same peer asks for it in
 * another session while nobody answers in that one. Else a peer that was restarted could not have its own port back for as long as
 * the session of the process before may still be resumed.
 */
export class ReverseListeners {
  readonly #quota = new Quota(LIMITS.listenersPerPeer);
  readonly #held = new Set<Held>();

  /** @throws SallyportError `PORT_IN_USE`, `USAGE`, `LIMIT` */
  async listen(request: ListenRequest, stream: SessionStream, session: Session): Promise<Listening> {
    await this.#claim(request, session);
    const { peer } = session;
    if (stream.destroyed) throw new SallyportError('ABORTED', 'it is no longer asked for');
    if (!this.#quota.take(peer)) {
      const places = LIMITS.listenersPerPeer;
      throw new SallyportError('LIMIT', `the other side listens for this peer in ${places} places already`);
    }
    stream.once('close', () => this.#quota.giveBack(peer));
    const listening = await listenFor(request, stream, session);
    if (stream.destroyed) return listening;
    const held: Held = { session, stream, transport: request.transport, listening };
    this.#held.add(held);
    stream.once('close', () => this.#held.delete(held));
    return listening;
  }

  /** Takes the place away from a session of the same peer in which it doesn't answer; as with a second registration, whoever answers keeps it. */
  async #claim(request: ListenRequest, session: Session): Promise<void> {
    const place = formatEndpoint({ address: request.bind, port: request.port });
    const holder = [...this.#held].find(
      (held) =>
        held.session.peer === session.peer &&
        held.session !== session &&
        held.transport === request.transport &&
        held.listening.listen === place,
    );
    if (!holder || (await holder.session.answers())) return;
    holder.stream.reset('PORT_IN_USE', `another session of this peer has the other side listen on ${place}`);
    await holder.listening.close();
  }
}
