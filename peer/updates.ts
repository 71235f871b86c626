import { publicKeyOf } from '../src/core/identity.ts';
import { LIMITS } from '../src/core/limits.ts';
import { encodePurpose } from '../src/core/protocol/open.ts';
import {
  decodeUpdate,
  encodeUpdate,
  type Update,
  type UpdateFields,
} from '../src/core/session/introduction.ts';
import type { Opener, Sealer, SessionKeys } from '../src/core/session/keys.ts';
import { otherRole } from '../src/core/session/role.ts';
import { TokenBucket } from '../src/core/token-bucket.ts';
import type { Clock } from '../src/net/clock.ts';
import type { SessionStream } from '../src/net/session-stream.ts';
import type { Deployment } from './deployment.ts';
import { LengthPrefixed, withLength } from './length-prefixed.ts';
import type { Session } from './session.ts';

export interface UpdatesOptions {
  readonly session: Session;
  readonly id: Uint8Array;
  readonly keys: SessionKeys;
  /** The peer's registration that the session was introduced with. */
  readonly instance: Uint8Array;
  readonly deployment: Pick<Deployment, 'send'>;
  readonly clock: Clock;
  readonly onUpdate: (update: Update) => void;
}

/** What a peer may tell of its network; each piece costs up to twenty signatures' checks. */
const RATE = { perSecond: 10, burst: 100 };

/**
 * What the two ends of a session tell each other about it (docs/protocol.md, "Updates"): sealed in boxes through the rendezvous, and
 * on a stream of the session's own where that has a path. Either may lead nowhere without this end knowing: what is told is
 * what another path is to be found by.
 */
export class Updates {
  readonly #options: UpdatesOptions;
  readonly #rate: TokenBucket;
  #sealer!: Sealer;
  #opener!: Opener;
  /** The peer's registration that boxes go to: the one that it was last heard of by. */
  #instance!: Uint8Array;
  /** The one on which ours go. */
  #outgoing: SessionStream | undefined;
  /** The one on which the peer's come. */
  #incoming: SessionStream | undefined;

  constructor(options: UpdatesOptions) {
    this.#options = options;
    this.#rate = new TokenBucket(RATE.perSecond, RATE.burst, options.clock.now());
    this.renew(options.keys, options.instance);
    options.session.on('updates', (stream) => this.#read(stream));
  }

  get instance(): Uint8Array {
    return this.#instance;
  }

  /** From here on boxes are sealed with these keys. */
  renew(keys: SessionKeys, instance: Uint8Array): void {
    const { role } = this.#options.session;
    this.#sealer = keys.sealer(role);
    this.#opener = keys.opener(otherRole(role));
    this.#instance = instance;
  }

  /**
   * Takes a box that the rendezvous brought from this registration of the peer.
   * @throws SallyportError `PROTOCOL_ERROR` where it isn't the peer's
   */
  open(box: Uint8Array, instance: Uint8Array): void {
    const update = this.#opener.open(box);
    if (!update) return;
    this.#instance = instance;
    this.#take(update);
  }

  /** False where there is no way to the peer, not even by the rendezvous. */
  send(update: UpdateFields): boolean {
    const { session, id, deployment } = this.#options;
    const bytes = encodeUpdate(update);
    const stream = session.path && (this.#outgoing ??= this.#openStream());
    stream?.write(withLength(bytes));
    const box = this.#sealer.seal(bytes);
    const to = publicKeyOf(session.peer);
    const sent = deployment.send({ t: 'trickle', session: id, to, instance: this.#instance, box });
    return sent || stream !== undefined;
  }

  /** `undefined` where the session takes no more streams, as while it closes. */
  #openStream(): SessionStream | undefined {
    try {
      const stream = this.#options.session.driver.open(encodePurpose({ for: 'updates' }));
      stream.on('error', () => {});
      stream.once('close', () => (this.#outgoing = undefined));
      return stream;
    } catch {
      return undefined;
    }
  }

  #read(stream: SessionStream): void {
    this.#incoming?.destroy();
    this.#incoming = stream;
    const messages = new LengthPrefixed((bytes) => this.#take(bytes), LIMITS.controlMessageBytes);
    stream.on('error', () => {});
    stream.on('data', (chunk: Uint8Array) => {
      try {
        messages.push(chunk);
      } catch (thrown) {
        stream.destroy(thrown as Error);
      }
    });
    stream.on('end', () => stream.end());
  }

  #take(bytes: Uint8Array): void {
    const { clock, onUpdate } = this.#options;
    if (this.#rate.take(clock.now())) onUpdate(decodeUpdate(bytes));
  }
}
