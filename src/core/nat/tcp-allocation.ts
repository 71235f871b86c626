import type { Endpoint } from '../endpoint.ts';
import type { Instant, Machine } from '../machine.ts';
import { bindingRequest } from '../stun/request.ts';
import { StunConnection } from './stun-connection.ts';
import type { SurveyOptions, TcpSurveyInput, TcpSurveyOutput } from './survey.ts';
import { judgePool, SAMPLES } from './udp-allocation.ts';

interface Sample {
  readonly connection: StunConnection;
  localPort: number;
  mapped: Endpoint | undefined;
}

/** Port allocation over TCP, and the pool of public addresses: eight dials in one burst, as over UDP. */
export class TcpAllocation implements Machine<TcpSurveyInput, TcpSurveyOutput> {
  readonly #options: SurveyOptions;
  readonly #outputs: TcpSurveyOutput[] = [];
  #samples: Sample[] = [];
  /** Neither answered nor failed yet. */
  readonly #open = new Set<Sample>();
  #endAt: Instant | undefined;

  constructor(options: SurveyOptions) {
    this.#options = options;
  }

  get deadline(): Instant | undefined {
    return this.#endAt;
  }

  handle(input: TcpSurveyInput, now: Instant): void {
    if (input.type === 'start') return this.#start(now);
    const sample = this.#samples[input.connection];
    if (!sample || !this.#open.has(sample)) return;
    if (input.type === 'closed') this.#close(sample);
    else if (input.type === 'data') this.#receive(sample, input.bytes);
    else this.#ask(sample, input.localPort, now);
  }

  handleTimeout(now: Instant): void {
    if (this.#endAt !== undefined && this.#endAt <= now) this.#finish();
  }

  poll(): TcpSurveyOutput | undefined {
    return this.#outputs.shift();
  }

  #start(now: Instant): void {
    const { servers } = this.#options;
    if (servers.length === 0) return;
    this.#endAt = now + END_MS;
    for (let id = 0; id < SAMPLES; id++) {
      const to = servers[id % servers.length]!;
      const sample = { connection: new StunConnection(id, to, now), localPort: 0, mapped: undefined };
      this.#samples.push(sample);
      this.#open.add(sample);
      this.#outputs.push({ type: 'connect', connection: id, to, listens: false });
    }
  }

  #ask(sample: Sample, localPort: number, now: Instant): void {
    sample.localPort = localPort;
    const transactionId = this.#options.random(12);
    sample.connection.asked(transactionId, now);
    const bytes = bindingRequest(transactionId, this.#options.credentials);
    this.#outputs.push({ type: 'write', connection: sample.connection.id, bytes });
  }

  #receive(sample: Sample, bytes: Uint8Array): void {
    try {
      const [reply] = sample.connection.receive(bytes, this.#options.credentials);
      if (!reply) return;
      sample.mapped = reply.mapped;
    } catch {
      // no STUN server: no sample
    }
    this.#close(sample);
  }

  #close(sample: Sample): void {
    this.#outputs.push({ type: 'reset', connection: sample.connection.id });
    this.#open.delete(sample);
    if (this.#open.size === 0) this.#finish();
  }

  #finish(): void {
    if (this.#endAt === undefined) return;
    this.#endAt = undefined;
    for (const { connection } of this.#open) this.#outputs.push({ type: 'reset', connection: connection.id });
    this.#open.clear();
    this.#outputs.push({ type: 'found', profile: judgePool(this.#samples) });
  }
}

/** Leaves room for the kernel's second SYN, at 1 s. */
const END_MS = 2_500;
