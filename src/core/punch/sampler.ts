import type { Endpoint } from '../endpoint.ts';
import { earliest, type Instant } from '../machine.ts';
import { bindingRequest, type StunCredentials } from '../stun/request.ts';
import type { Candidate, Transport } from './candidate.ts';
import type { PunchOutput } from './events.ts';
import { mappingIn } from './own-mapping.ts';

/** STUN servers of the deployment, and this peer's registration there. */
export interface StunService {
  readonly servers: Readonly<Record<Transport, Endpoint | undefined>>;
  readonly credentials: StunCredentials;
}

export interface PortSamplerOptions {
  readonly transport: Transport;
  readonly stun: StunService;
  readonly random: (count: number) => Uint8Array;
  readonly emit: (output: PunchOutput) => void;
}

/** A request that is not answered yet. */
interface Question {
  readonly transactionId: Uint8Array;
  readonly bytes: Uint8Array;
  /** When it is due to be sent again. */
  readonly repeats: Instant[];
}

/** Sockets that sample are numbered from here: above those of a birthday, below those of a prediction. */
const FIRST_SOCKET = 900;

/** After a request; a later answer would say too little. */
const RETRANSMISSIONS = [60, 150];

/**
 * Samples where a NAT's port counter stands: a STUN request from a fresh socket gets the next port, and the server
 * tells which, with its attestation.
 */
export class PortSampler {
  #options: PortSamplerOptions;
  #server: Endpoint;
  #sockets = 0;
  /** By socket. */
  #asked = new Map<number, Question>();
  /** When the counter was last asked for, or seen by somebody else. */
  #readAt: Instant | undefined;

  private constructor(options: PortSamplerOptions, server: Endpoint) {
    this.#options = options;
    this.#server = server;
  }

  /** `undefined` where no server is known for this transport. */
  static of(
    options: Omit<PortSamplerOptions, 'stun'> & { readonly stun: StunService | undefined },
  ): PortSampler | undefined {
    const { stun, transport } = options;
    const server = stun?.servers[transport];
    return stun && server && new PortSampler({ ...options, stun }, server);
  }

  /** True once a socket of its own may be open. */
  get begun(): boolean {
    return this.#sockets > 0;
  }

  get deadline(): Instant | undefined {
    return earliest(...[...this.#asked.values()].flatMap(({ repeats }) => repeats));
  }

  /** Asks, where the counter was not read in the last `maxAgeMs`. */
  sample(maxAgeMs: number, now: Instant): void {
    if (this.#readAt !== undefined && now - this.#readAt <= maxAgeMs) return;
    this.#readAt = now;
    const { transport, stun, random, emit } = this.#options;
    const socket = FIRST_SOCKET + this.#sockets++;
    const transactionId = random(12);
    const bytes = bindingRequest(transactionId, stun.credentials);
    // TCP repeats by itself.
    const repeats = transport === 'udp' ? RETRANSMISSIONS.map((offset) => now + offset) : [];
    this.#asked.set(socket, { transactionId, bytes, repeats });
    if (transport === 'udp') this.#send(socket, bytes);
    else emit({ type: 'sample', socket, to: this.#server, bytes });
  }

  /** The counter was seen without this sampler's asking. */
  noteRead(at: Instant): void {
    this.#readAt = Math.max(this.#readAt ?? at, at);
  }

  /** The mapping that the server saw, where `bytes` is its answer to a request from `socket`; else `undefined`. */
  read(socket: number, bytes: Uint8Array): Candidate | undefined {
    const { transport, stun } = this.#options;
    const asked = this.#asked.get(socket);
    const mapping = asked && mappingIn(bytes, asked.transactionId, transport, stun.credentials);
    if (mapping) this.#asked.delete(socket);
    return mapping;
  }

  /** A request that is sent once more has the same mapping, so its answer says the same. */
  handleTimeout(now: Instant): void {
    for (const [socket, { bytes, repeats }] of this.#asked) {
      const due = repeats.filter((at) => at <= now).length;
      repeats.splice(0, due);
      if (due > 0) this.#send(socket, bytes);
    }
  }

  #send(socket: number, bytes: Uint8Array): void {
    this.#options.emit({ type: 'send', socket, to: this.#server, bytes });
  }
}
