import type { Socket } from 'node:net';
import type { Endpoint } from '../core/endpoint.ts';
import type { Machine } from '../core/machine.ts';
import type { TransportProfile } from '../core/nat/behavior.ts';
import type { TcpSurveyInput, TcpSurveyOutput } from '../core/nat/survey.ts';
import type { Clock } from './clock.ts';
import { Driver } from './driver.ts';
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
  readonly #sockets = new Map<number, Socket>();
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
        this.#sockets.get(output.connection)?.write(output.bytes);
        break;
      case 'reset':
        this.#sockets.get(output.connection)?.resetAndDestroy();
        this.#sockets.delete(output.connection);
        break;
      case 'found':
        this.#finish(output.profile);
        break;
    }
  }

  async #connect(connection: number, remote: Endpoint, listens: boolean): Promise<void> {
    try {
      const socket = await dialTcp({ remote, signal: this.#dials.signal });
      const localPort = socket.localPort ?? 0;
      const closed = (): void => {
        if (this.#sockets.delete(connection)) this.#driver.handle({ type: 'closed', connection });
        socket.destroy();
      };
      this.#sockets.set(connection, socket);
      socket.unref();
      socket.on('data', (bytes) => this.#driver.handle({ type: 'data', connection, bytes }));
      socket.on('end', closed).on('close', closed);
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
    for (const socket of this.#sockets.values()) socket.resetAndDestroy();
    this.#sockets.clear();
    for (const listener of this.#listeners.splice(0)) void listener.close();
    this.#settle(profile);
  }
}
