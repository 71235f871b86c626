import { join } from 'node:path';
import { isAddress } from '../src/core/address.ts';
import { checkOptions } from '../src/core/check-options.ts';
import { parseHostPort, type Endpoint } from '../src/core/endpoint.ts';
import type { SallyportError } from '../src/core/errors.ts';
import type { Identity, PeerId } from '../src/core/identity.ts';
import { parseRendezvousUrl, type RendezvousUrl } from '../src/core/rendezvous-url.ts';
import { Emitter } from '../src/net/emitter.ts';
import { Front } from '../src/net/front.ts';
import { loadIdentity } from '../src/net/identity-file.ts';
import { readJoinToken } from '../src/net/join-token.ts';
import { hostOf } from '../src/net/proxy.ts';
import { publicOrigin, reachableAddress, urlOf } from '../src/net/public-url.ts';
import { serverClock, serverTime } from '../src/net/server-clock.ts';
import { SignalConnection } from '../src/net/signal.ts';
import { stateHome } from '../src/net/state-home.ts';
import { stunPorts } from '../src/net/stun-ports.ts';
import { StunServer } from '../src/net/stun-server.ts';
import { readTls, type TlsOptions } from '../src/net/tls-files.ts';
import { relayOptions } from './check-options.ts';
import type { CircuitsLimits } from './circuit-events.ts';
import { CircuitServer } from './circuit-server.ts';

export interface RelayOptions extends TlsOptions {
  /** Whose tickets it honours; its URL may carry the join token and the deployment's id as the fragment. */
  readonly rendezvous: string;
  /** `host:port`, port 0 for a free one. @default every address; port 443, or 80 with `insecure` */
  readonly listen?: string | undefined;
  /** Where peers reach it. @default made from `listen` */
  readonly publicUrl?: string | undefined;
  /** The first of two STUN ports; 0 for two free ones. @default 3478 */
  readonly stunPort?: number | undefined;
  /** A file with the join token, instead of the URL's fragment. */
  readonly tokenFile?: string | undefined;
  /** Where the relay's key is kept. @default SALLYPORT_HOME, or the XDG state folder */
  readonly home?: string | undefined;
  readonly limits?: Partial<CircuitsLimits> | undefined;
  /** Aborting it gives up while the rendezvous has not answered yet. */
  readonly signal?: AbortSignal | undefined;
}

export interface RelayEvents {
  registered: [rendezvous: PeerId];
  /** No rendezvous at the moment; circuits and their tickets go on. */
  down: [why: SallyportError];
  /** The rendezvous refuses this relay. */
  error: [why: SallyportError];
}

const STUN_PORT = 3478;

/** A relay of its own: takes circuits, answers STUN, and is announced by the rendezvous. */
export class RelayServer extends Emitter<RelayEvents> {
  readonly id: PeerId;
  readonly url: string;
  readonly stun: { readonly udp: readonly Endpoint[]; readonly tcp: readonly Endpoint[] };
  readonly #front: Front;
  readonly #stun: StunServer;
  readonly #circuits: CircuitServer;
  readonly #signal: SignalConnection;

  private constructor(
    options: RelayOptions,
    rendezvous: RendezvousUrl,
    identity: Identity,
    front: Front,
    stun: StunServer,
  ) {
    super();
    this.id = identity.id;
    this.#front = front;
    this.#stun = stun;
    this.stun = stun;
    this.url = publicUrlOf(options, front);
    this.#signal = new SignalConnection({
      url: rendezvous.url,
      identity,
      role: 'relay',
      token: rendezvous.token,
      deployment: rendezvous.id,
      relay: { url: this.url, stunUdp: [...stun.udp], stunTcp: [...stun.tcp] },
      clock: serverClock,
    });
    this.#circuits = new CircuitServer(front, {
      relay: this.id,
      rendezvous: () => this.#signal.deployment,
      now: () => serverTime() + (this.#signal.offsetMs ?? 0),
      limits: options.limits,
    });
    this.#signal.on('registered', (grant) => this.emit('registered', grant.deployment));
    this.#signal.on('down', (why) => this.emit('down', why));
    this.#signal.on('error', (why) => this.listenerCount('error') > 0 && this.emit('error', why));
  }

  /**
   * Resolves when it is registered.
   * @throws SallyportError `USAGE`, `URL_INVALID`, `CONFIG_INVALID`, `PORT_IN_USE`, `KEY_FILE_MODE`, `RENDEZVOUS_UNREACHABLE`, `TOKEN_INVALID`, `IDENTITY_CHANGED`, `ABORTED`
   */
  static async start(options: RelayOptions): Promise<RelayServer> {
    checkOptions(relayOptions, options);
    const tls = readTls(options);
    // A token file that can't be read is told of before anything is opened.
    const rendezvous = rendezvousOf(options);
    const identity = loadIdentity(join(stateHome(options.home), 'relay.key'));
    const { host, port } = parseHostPort(options.listen ?? `0.0.0.0:${options.insecure ? 80 : 443}`);
    const front = await Front.listen({ host, port, tls, about: `Sallyport relay ${identity.id}` });
    try {
      const stun = await startStun(options, identity, front);
      const relay = new RelayServer(options, rendezvous, identity, front, stun);
      await relay.#registered(options.signal);
      return relay;
    } catch (error) {
      await front.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    this.#signal.close();
    this.#circuits.close();
    await Promise.all([this.#stun.close(), this.#front.close()]);
  }

  async #registered(signal: AbortSignal | undefined): Promise<void> {
    try {
      await this.#signal.whenRegistered({ firstAttemptOnly: true, signal });
    } catch (error) {
      await this.close();
      throw error;
    }
  }
}

function rendezvousOf({ rendezvous, tokenFile }: RelayOptions): RendezvousUrl {
  const named = parseRendezvousUrl(rendezvous);
  return tokenFile === undefined ? named : { ...named, token: readJoinToken(tokenFile) };
}

function publicUrlOf({ publicUrl }: RelayOptions, front: Front): string {
  if (publicUrl !== undefined) return publicOrigin(publicUrl, front.secure);
  const { address, port } = front.endpoint;
  return urlOf({ address: reachableAddress(address, undefined), port }, front.secure);
}

/** It knows no registrations: everybody is a stranger to a relay's STUN server. */
function startStun(options: RelayOptions, identity: Identity, front: Front): Promise<StunServer> {
  const host = hostOf(new URL(publicUrlOf(options, front)));
  return StunServer.start({
    addresses: [front.endpoint.address],
    ports: stunPorts(options.stunPort ?? STUN_PORT),
    publicAddress: isAddress(host) ? host : undefined,
    deployment: identity,
    lookup: () => undefined,
    now: serverTime,
  });
}
