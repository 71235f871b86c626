import { hex } from '../bytes.ts';
import type { Endpoint } from '../endpoint.ts';
import { bindingRequest, readResponse, type StunCredentials } from '../stun/request.ts';
import type { Candidate } from './candidate.ts';
import type { PunchOutput } from './events.ts';

/** A STUN server of the deployment, and this peer's registration there. */
export interface StunService {
  readonly server: Endpoint;
  readonly credentials: StunCredentials;
}

/**
 * Samples where a NAT's port counter stands: a STUN request from a fresh socket gets the next port, and the server
 * tells which, with its attestation.
 */
export class PortSampler {
  #stun: StunService;
  #random: (count: number) => Uint8Array;
  #emit: (output: PunchOutput) => void;
  /** By socket: the request that is not answered yet. */
  #asked = new Map<number, { transaction: string; bytes: Uint8Array }>();

  constructor(stun: StunService, random: (count: number) => Uint8Array, emit: (output: PunchOutput) => void) {
    this.#stun = stun;
    this.#random = random;
    this.#emit = emit;
  }

  /** From a socket that has contacted nobody. */
  ask(socket: number): void {
    const transactionId = this.#random(12);
    const bytes = bindingRequest(transactionId, this.#stun.credentials);
    this.#asked.set(socket, { transaction: hex(transactionId), bytes });
    this.askAgain(socket);
  }

  /** The same request once more, if it is not answered yet: it has the same mapping, so its answer says the same. */
  askAgain(socket: number): void {
    const bytes = this.#asked.get(socket)?.bytes;
    if (bytes) this.#emit({ type: 'send', socket, to: this.#stun.server, bytes });
  }

  /** The mapping that the server saw, where `bytes` is its answer to a request from `socket`; else `undefined`. */
  read(socket: number, bytes: Uint8Array): Candidate | undefined {
    const response = readResponse(bytes, this.#stun.credentials);
    if (!response?.mapped) return undefined;
    if (this.#asked.get(socket)?.transaction !== hex(response.transactionId)) return undefined;
    this.#asked.delete(socket);
    const { mapped: endpoint, attestation } = response;
    return { type: 'srflx', transport: 'udp', endpoint, attestation };
  }
}
