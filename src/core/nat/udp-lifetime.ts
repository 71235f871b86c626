import { earliest, type Instant, type Machine } from '../machine.ts';
import { MappingLease } from './mapping-lease.ts';
import type { SurveyOptions, UdpSurveyInput, UdpSurveyOutput } from './survey.ts';

/**
 * How long an idle mapping lives (RFC 4787 §4.3, RFC 5780 §4.6): four spare sockets lie idle for 10, 30, 60 and 120 s,
 * side by side, and a fifth has the server answer to their mappings then. The finding is the longest time outlived,
 * 0 where that is none of them.
 */
export class UdpLifetime implements Machine<UdpSurveyInput, UdpSurveyOutput> {
  readonly #options: SurveyOptions;
  readonly #outputs: UdpSurveyOutput[] = [];
  #leases: MappingLease[] = [];

  constructor(options: SurveyOptions) {
    this.#options = options;
  }

  get deadline(): Instant | undefined {
    return earliest(...this.#leases.map(({ deadline }) => deadline));
  }

  handle(input: UdpSurveyInput, now: Instant): void {
    if (input.type === 'start') this.#start(now);
    else this.#leases[input.socket]?.receive(input.bytes, now);
    this.#conclude();
  }

  handleTimeout(now: Instant): void {
    for (const lease of this.#leases) lease.handleTimeout(now);
    this.#conclude();
  }

  poll(): UdpSurveyOutput | undefined {
    return this.#outputs.shift();
  }

  #start(now: Instant): void {
    const emit = (output: UdpSurveyOutput) => void this.#outputs.push(output);
    const common = { ...this.#options, asker: CLIFFS_S.length, emit };
    const random = (length: number) => this.#options.random(length);
    this.#leases = CLIFFS_S.map(
      (seconds, socket) => new MappingLease({ ...common, random, socket, idleMs: seconds * 1_000 }, now),
    );
  }

  /** One that is dead says the same of all the longer ones. */
  #conclude(): void {
    const verdicts = this.#leases.map(({ verdict }) => verdict);
    if (verdicts.length === 0) return;
    const end = verdicts.indexOf('dead');
    const counted = end === -1 ? verdicts : verdicts.slice(0, end);
    if (counted.includes(undefined)) return;
    this.#leases = [];
    const longest = counted.lastIndexOf('alive');
    const isKnown = longest !== -1 || end === 0;
    const lifetimeSeconds = longest === -1 ? 0 : CLIFFS_S[longest]!;
    this.#outputs.push({ type: 'found', profile: isKnown ? { lifetimeSeconds } : {} });
  }
}

/** What NATs in the field are found to use. */
const CLIFFS_S = [10, 30, 60, 120];
