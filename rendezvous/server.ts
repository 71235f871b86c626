import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { join } from 'node:path';
import { checkOptions } from '../src/core/check-options.ts';
import type { Endpoint } from '../src/core/endpoint.ts';
import { notWanted, SallyportError } from '../src/core/errors.ts';
import type { Identity, PeerId } from '../src/core/identity.ts';
import type { Instant } from '../src/core/machine.ts';
import { formatRendezvousUrl } from '../src/core/rendezvous-url.ts';
import { Front } from '../src/net/front.ts';
import { loadIdentity } from '../src/net/identity-file.ts';
import { loadJoinToken } from '../src/net/join-token.ts';
import { publicOrigin, reachableAddress, urlOf } from '../src/net/public-url.ts';
import { serverClock, serverTime } from '../src/net/server-clock.ts';
import { stateHome } from '../src/net/state-home.ts';
import type { StunServerOptions } from '../src/net/stun-server.ts';
import { readTls } from '../src/net/tls-files.ts';
import { rendezvousOptions } from './check-options.ts';
import { checkAddresses, listenAt, type RendezvousOptions } from './options.ts';
import type { RegistryOutput } from './registry-events.ts';
import { SignalServer } from './signal-server.ts';
import { startStun, type RendezvousStun } from './stun.ts';

/** Puts a relay onto the rendezvous's own port; handed in from outside, since roles don't know each other. */
export type AttachRelay = (
  front: Front,
  context: { readonly deployment: Identity; readonly now: () => Instant },
) => { readonly id: PeerId; close(): void };

/** How long a drained node has to read its notice. */
const DRAIN_MS = 250;

interface Parts {
  readonly identity: Identity;
  readonly token: string | undefined;
  readonly relayToken: string | undefined;
  readonly front: Front;
  readonly stun: RendezvousStun;
  readonly relay: ReturnType<AttachRelay> | undefined;
  readonly onEvent: (event: RegistryOutput) => void;
}

/** A running rendezvous: signalling, STUN and, by default, a relay in one process. */
export class RendezvousServer {
  readonly #parts: Parts;
  readonly #signal: SignalServer;
  readonly #options: RendezvousOptions;

  private constructor(parts: Parts, signal: SignalServer, options: RendezvousOptions) {
    this.#parts = parts;
    this.#signal = signal;
    this.#options = options;
  }

  /**
   * @param attachRelay gives it a relay of its own, unless `relay` is false
   * @throws SallyportError `USAGE`, `CONFIG_INVALID`, `PORT_IN_USE`, `KEY_FILE_MODE`, `KEY_FILE_INVALID`, `ABORTED`
   */
  static async start(
    options: RendezvousOptions,
    attachRelay?: AttachRelay,
    onEvent: (event: RegistryOutput) => void = () => undefined,
  ): Promise<RendezvousServer> {
    checkOptions(rendezvousOptions, options);
    if (options.signal?.aborted) throw notWanted();
    const tls = readTls(options);
    checkAddresses(options);
    if (options.publicUrl !== undefined) publicOrigin(options.publicUrl, tls !== undefined);
    if (options.open && options.tokenFile !== undefined) {
      throw new SallyportError('USAGE', '--open and --token-file exclude each other');
    }
    const home = stateHome(options.home);
    const identity = loadIdentity(join(home, 'rendezvous.key'));
    const token = options.open ? undefined : loadJoinToken(options.tokenFile ?? join(home, 'join-token'));
    const relayToken =
      options.relayTokenFile === undefined ? undefined : loadJoinToken(options.relayTokenFile);
    const about = `Sallyport rendezvous ${identity.id}`;
    const front = await Front.listen({ ...listenAt(options), tls, about });
    try {
      const parts = { identity, token, relayToken, front, onEvent };
      const server = await RendezvousServer.#assemble(options, parts, attachRelay);
      if (!options.signal?.aborted) return server;
      await server.close();
      throw notWanted();
    } catch (error) {
      await front.close();
      throw error;
    }
  }

  static async #assemble(
    options: RendezvousOptions,
    parts: Omit<Parts, 'stun' | 'relay'>,
    attachRelay: AttachRelay | undefined,
  ): Promise<RendezvousServer> {
    const { identity, token, relayToken, front, onEvent } = parts;
    let signal: SignalServer | undefined;
    const lookup: StunServerOptions['lookup'] = (username) => {
      const registration = signal?.registry.registrations.byStunUsername(username);
      return registration && { peer: registration.id, key: registration.stun.key };
    };
    const stun = await startStun(options, front.endpoint.address, {
      deployment: identity,
      now: serverTime,
      lookup,
    });
    const wantsRelay = options.relay ?? true;
    const relay = wantsRelay ? attachRelay?.(front, { deployment: identity, now: serverTime }) : undefined;
    const random = (length: number) => new Uint8Array(randomBytes(length));
    const builtInRelay = relay && { id: relay.id, url: '', stunUdp: [], stunTcp: [] };
    const registryOptions = { deployment: identity, token, relayToken, stun, builtInRelay, random };
    signal = new SignalServer(front, registryOptions, serverClock, onEvent);
    return new RendezvousServer({ ...parts, stun, relay }, signal, options);
  }

  /** This deployment's own key. */
  get id(): PeerId {
    return this.#parts.identity.id;
  }

  get url(): string {
    const { front } = this.#parts;
    const { publicUrl, publicAddress } = this.#options;
    if (publicUrl !== undefined) return publicOrigin(publicUrl, front.secure);
    const address = reachableAddress(front.endpoint.address, publicAddress);
    return urlOf({ address, port: front.endpoint.port }, front.secure);
  }

  /** What `peer join` takes; it holds the token, so it is shown to the operator alone. */
  get joinUrl(): string {
    return formatRendezvousUrl({ url: this.url, id: this.id, token: this.#parts.token });
  }

  get stun(): { readonly udp: readonly Endpoint[]; readonly tcp: readonly Endpoint[] } {
    return this.#parts.stun;
  }

  /** Tells every node when to come back, each at another moment, then closes. */
  async drain(): Promise<void> {
    this.#parts.front.drain();
    this.#signal.drain();
    await sleep(DRAIN_MS);
    await this.close();
  }

  async close(): Promise<void> {
    this.#signal.close();
    this.#parts.relay?.close();
    await Promise.all([this.#parts.stun.close(), this.#parts.front.close()]);
  }
}
