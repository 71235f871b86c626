import type { PeerId } from '../src/core/identity.ts';
import type { History } from './history.ts';
import { PeerMoved } from './moved.ts';
import type { SettingsFile } from './settings.ts';
import type { Trust } from './trust.ts';

export interface SuccessorsOptions {
  /** This peer's own id. */
  readonly own: PeerId;
  readonly trust: Trust;
  readonly settings: SettingsFile;
  readonly history: History;
}

/** Peers that have taken another id: who asks for the old one is led to the new one, and what was known of the one goes to the other. */
export class Successors {
  readonly #options: SuccessorsOptions;

  constructor(options: SuccessorsOptions) {
    this.#options = options;
  }

  /** Acts with `to`, or with the id that has taken its place by its own word. */
  async follow<Result>(to: PeerId, act: (id: PeerId) => Promise<Result>): Promise<Result> {
    const { own, trust } = this.#options;
    try {
      return await act(to);
    } catch (thrown) {
      if (!(thrown instanceof PeerMoved) || thrown.to === own) throw thrown;
      if (!trust.mayFollow(to, thrown.to)) throw thrown;
      return act(thrown.to);
    }
  }

  /** The peer has proven the new id's key in a session. True where the allow list has changed. @throws SallyportError `NOT_AUTHORIZED` */
  succeed(from: PeerId, to: PeerId): boolean {
    const { trust, settings, history } = this.#options;
    settings.movePins(from, to);
    history.move(from, to);
    return trust.succeed(from, to);
  }
}
