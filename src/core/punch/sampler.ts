import { hex } from '../bytes.ts';
import type { Endpoint } from '../endpoint.ts';
import { bindingRequest, readResponse, type StunCredentials } from '../stun/request.ts';
import type { Candidate, Transport } from './candidate.ts';
import type { PunchOutput } from './events.ts';

/** STUN servers of the deployment, and this peer's registration there. */
export interface StunService {
  readonly servers: Readonly<Record<Transport, Endpoint | undefined>>;
  readonly credentials: StunCredentials;
}

/**
 * Samples where a NAT's port counter stands: a STUN request from a fresh socket gets the next port, and the server
 * tells which, with its attestation.
 */
export class PortSampler {
  #transport: Transport;
  #server: Endpoint;
  #credentials: StunCredentials;
  #random: (count: number) => Uint8Array;
  #emit: (output: PunchOutput) => void;
  /** By socket: the request that is not answered yet. */
  #asked = new Map<number, { transaction: string; bytes: Uint8Array }>();

  private constructor(
    transport: Transport,
    server: Endpoint,
    credentials: StunCredentials,
    random: (count: number) => Uint8Array,
    emit: (output: PunchOutput) => void,
  ) {
    this.#transport = transport;
    this.#server = server;
    this.#credentials = credentials;
    this.#random = random;
    this.#emit = emit;
  }

  /** `undefined` where no server is known for this transport. */
  static of(
    stun: StunService | undefined,
    transport: Transport,
    random: (count: number) => Uint8Array,
    emit: (output: PunchOutput) => void,
  ): PortSampler | undefined {
    const server = stun?.servers[transport];
    return server && new PortSampler(transport, server, stun.credentials, random, emit);
  }

  /** From a socket that has contacted nobody. */
  ask(socket: number): void {
    const transactionId = this.#random(12);
    const bytes = bindingRequest(transactionId, this.#credentials);
    this.#asked.set(socket, { transaction: hex(transactionId), bytes });
    if (this.#transport === 'udp') this.askAgain(socket);
    else this.#emit({ type: 'sample', socket, to: this.#server, bytes });
  }

  /**
   * The same request once more, if it is not answered yet: it has the same mapping, so its answer says the same. TCP
   * repeats by itself.
   */
  askAgain(socket: number): void {
    const bytes = this.#asked.get(socket)?.bytes;
    if (bytes && this.#transport === 'udp') this.#emit({ type: 'send', socket, to: this.#server, bytes });
  }

  /** The mapping that the server saw, where `bytes` is its answer to a request from `socket`; else `undefined`. */
  read(socket: number, bytes: Uint8Array): Candidate | undefined {
    const response = readResponse(bytes, this.#credentials);
    if (!response?.mapped) return undefined;
    if (this.#asked.get(socket)?.transaction !== hex(response.transactionId)) return undefined;
    this.#asked.delete(socket);
    const { mapped: endpoint, attestation } = response;
    return { type: 'srflx', transport: this.#transport, endpoint, attestation };
  }
}
