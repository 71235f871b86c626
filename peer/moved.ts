import { SallyportError } from '../src/core/errors.ts';
import { peerIdOf, type PeerId } from '../src/core/identity.ts';
import type { MessageTo, ToNode } from '../src/core/protocol/rendezvous.ts';
import { readSuccessions } from '../src/core/succession.ts';

type Successor = NonNullable<MessageTo<ToNode, 'error'>['successor']>;

/** The peer isn't up under the id that was asked for, and its own word says under which one it is. */
export class PeerMoved extends SallyportError {
  readonly to: PeerId;

  private constructor(to: PeerId, { code, message, hint }: SallyportError) {
    super(code, message, { hint });
    this.to = to;
  }

  /** `failure`, with where `from` has gone, if the rendezvous can prove that. */
  static of(failure: SallyportError, from: PeerId, successor: Successor | undefined): SallyportError {
    if (!successor) return failure;
    const to = peerIdOf(successor.id);
    return leads(from, to, successor.successions) ? new PeerMoved(to, failure) : failure;
  }
}

/** Whether `successions` prove that `to` has taken the place of `from`. */
export function leads(from: PeerId, to: PeerId, successions: Uint8Array): boolean {
  return readSuccessions(successions, to).some((succession) => succession.from === from);
}
