import type { TransportProfile } from '../core/nat/behavior.ts';
import type { UdpSurveyInput, UdpSurveyOutput } from '../core/nat/survey.ts';
import type { Machine } from '../core/machine.ts';
import type { Clock } from './clock.ts';
import type { FreshDatagramPort, OpenDatagramPort } from './discover-udp.ts';
import { Driver } from './driver.ts';

export interface UdpSurveyRun {
  readonly openFresh: OpenDatagramPort;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Runs one survey on fresh sockets to its end; `undefined` where it was stopped or a socket could not be had. */
export async function surveyUdp(
  machine: Machine<UdpSurveyInput, UdpSurveyOutput>,
  { openFresh, clock, signal }: UdpSurveyRun,
): Promise<Partial<TransportProfile> | undefined> {
  const sockets = new Map<number, Promise<FreshDatagramPort>>();
  const open = async (number: number): Promise<FreshDatagramPort> => {
    const socket = await openFresh();
    const localPort = socket.address.port;
    socket.on('datagram', (bytes, from) =>
      driver.handle({ type: 'datagram', socket: number, bytes, from, localPort }),
    );
    return socket;
  };
  let settle: (profile: Partial<TransportProfile> | undefined) => void = () => {};
  const stop = (): void => settle(undefined);
  const driver = new Driver(machine, clock, (output: UdpSurveyOutput) => {
    if (output.type === 'found') return settle(output.profile);
    const { socket, bytes, to } = output;
    if (!sockets.has(socket)) sockets.set(socket, open(socket));
    sockets.get(socket)!.then((port) => port.send(bytes, to), stop);
  });
  try {
    return await new Promise<Partial<TransportProfile> | undefined>((resolve) => {
      settle = resolve;
      if (signal.aborted) return stop();
      signal.addEventListener('abort', stop);
      driver.handle({ type: 'start' });
    });
  } finally {
    driver.stop();
    signal.removeEventListener('abort', stop);
    for (const opening of sockets.values()) {
      opening.then(
        (socket) => socket.close(),
        () => {}, // it never opened
      );
    }
  }
}
