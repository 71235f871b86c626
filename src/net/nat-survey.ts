import type { TransportProfile } from '../core/nat/behavior.ts';
import type { SurveyOptions } from '../core/nat/survey.ts';
import { TcpAllocation } from '../core/nat/tcp-allocation.ts';
import { TcpFiltering } from '../core/nat/tcp-filtering.ts';
import { UdpAllocation } from '../core/nat/udp-allocation.ts';
import { UdpHairpin } from '../core/nat/udp-hairpin.ts';
import { UdpLifetime } from '../core/nat/udp-lifetime.ts';
import type { Transport } from '../core/punch/candidate.ts';
import type { Clock } from './clock.ts';
import type { OpenDatagramPort } from './discover-udp.ts';
import { surveyTcp } from './survey-tcp.ts';
import { surveyUdp } from './survey-udp.ts';

export interface NatSurveyOptions {
  readonly machine: Readonly<Record<Transport, SurveyOptions>>;
  readonly openFresh: OpenDatagramPort;
  readonly clock: Clock;
  onFinding(transport: Transport, found: Partial<TransportProfile>): void;
}

/** Measures in the background what a plan can start without, one thing after the other, on sockets of its own. */
export class NatSurvey {
  readonly #options: NatSurveyOptions;
  readonly #running: Partial<Record<Transport, AbortController>> = {};

  constructor(options: NatSurveyOptions) {
    this.#options = options;
  }

  /** Begins anew for this transport; what was under way for it is given up. Resolves with true when it is through. */
  async run(transport: Transport, diagnosed: TransportProfile): Promise<boolean> {
    this.stop(transport);
    const running = new AbortController();
    this.#running[transport] = running;
    if (transport === 'udp') await this.#udp(diagnosed, running.signal);
    else await this.#tcp(diagnosed, running.signal);
    return !running.signal.aborted;
  }

  /** How long idle UDP mappings live: up to two minutes. Ends with the run that it follows. */
  async lifetime({ mapping }: TransportProfile): Promise<void> {
    const { machine, openFresh, clock } = this.#options;
    const signal = this.#running.udp?.signal;
    if (mapping === 'none' || !signal) return;
    this.#found('udp', await surveyUdp(new UdpLifetime(machine.udp), { openFresh, clock, signal }));
  }

  stop(transport: Transport): void {
    this.#running[transport]?.abort();
  }

  async #udp({ mapping }: TransportProfile, signal: AbortSignal): Promise<void> {
    if (mapping === 'none') return;
    const { machine, openFresh, clock } = this.#options;
    const run = { openFresh, clock, signal };
    this.#found('udp', await surveyUdp(new UdpAllocation(machine.udp), run));
    this.#found('udp', await surveyUdp(new UdpHairpin({ ...machine.udp, mapping }), run));
  }

  async #tcp({ mapping }: TransportProfile, signal: AbortSignal): Promise<void> {
    const { machine, clock } = this.#options;
    const run = { clock, signal };
    // A plain server can't be asked to dial.
    if (machine.tcp.credentials) {
      this.#found('tcp', await surveyTcp(new TcpFiltering({ ...machine.tcp, mapping }), run));
    }
    if (mapping !== 'none') this.#found('tcp', await surveyTcp(new TcpAllocation(machine.tcp), run));
  }

  #found(transport: Transport, found: Partial<TransportProfile> | undefined): void {
    if (found) this.#options.onFinding(transport, found);
  }
}
