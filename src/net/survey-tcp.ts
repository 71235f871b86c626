import type { Endpoint } from '../core/endpoint.ts';
import type { Machine } from '../core/machine.ts';
import type { TransportProfile } from '../core/nat/behavior.ts';
import type { TcpSurveyInput, TcpSurveyOutput } from '../core/nat/survey.ts';
import type { Clock } from './clock.ts';
import { Driver } from './driver.ts';
import { quietPort } from './quiet-port.ts';
import { StunSockets } from './stun-sockets.ts';
import { dialTcp, listenTcp, type TcpListener } from './tcp.ts';

export interface TcpSurveyRun {
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Runs one survey on fresh ports to its end; `undefined` where it was stopped. */
export async function surveyTcp(
  machine: Machine<TcpSurveyInput, TcpSurveyOutput>,
  { clock, signal }: TcpSurveyRun,
): Promise<Partial<TransportProfile> | undefined> {
  const runner = new TcpSurveyRunner(machine, clock);
  const stop = (): void => runner.stop();
  signal.addEventListener('abort', stop);
  if (signal.aborted) stop();
  try {
    return await runner.found;
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

class TcpSurveyRunner {
  readonly found: Promise<Partial<TransportProfile> | undefined>;
  readonly #driver: Driver<TcpSurveyInput, TcpSurveyOutput>;
  readonly #sockets = new StunSockets((event) => this.#driver.handle(event));
  readonly #listeners: TcpListener[] = [];
  /** Ends the dials that are under way. */
  readonly #dials = new AbortController();
  #settle: (profile: Partial<TransportProfile> | undefined) => void = () => {};

  constructor(machine: Machine<TcpSurveyInput, TcpSurveyOutput>, clock: Clock) {
    this.#driver = new Driver(machine, clock, (output) => this.#perform(output));
    this.found = new Promise((resolve) => (this.#settle = resolve));
    this.#driver.handle({ type: 'start' });
  }

  stop(): void {
    this.#finish(undefined);
  }

  #perform(output: TcpSurveyOutput): void {
    switch (output.type) {
      case 'connect':
        void this.#connect(output.connection, output.to, output.listens);
        break;
      case 'write':
        this.#sockets.write(output.connection, output.bytes);
        break;
      case 'reset':
        this.#sockets.reset(output.connection);
        break;
      case 'found':
        this.#finish(output.profile);
        break;
    }
  }

  async #connect(connection: number, remote: Endpoint, listens: boolean): Promise<void> {
    try {
      const from = listens ? { localPort: quietPort() } : {};
      const socket = await dialTcp({ remote, signal: this.#dials.signal, ...from });
      const localPort = socket.localPort ?? 0;
      this.#sockets.add(connection, socket);
      const isListening = listens && (await this.#listen(socket.localAddress ?? '', localPort));
      this.#driver.handle({ type: 'connected', connection, localPort, isListening });
    } catch {
      this.#driver.handle({ type: 'closed', connection });
    }
  }

  /** Whoever dials in is let go at once. */
  async #listen(host: string, port: number): Promise<boolean> {
    try {
      const listener = await listenTcp({ host, port, maxConnections: 16 });
      listener.on('connection', (socket) => socket.destroy());
      if (this.#dials.signal.aborted) await listener.close();
      else this.#listeners.push(listener);
      return true;
    } catch {
      return false;
    }
  }

  #finish(profile: Partial<TransportProfile> | undefined): void {
    this.#driver.stop();
    this.#dials.abort();
    for (const connection of this.#sockets.connections) this.#sockets.reset(connection);
    for (const listener of this.#listeners.splice(0)) void listener.close();
    this.#settle(profile);
  }
}
