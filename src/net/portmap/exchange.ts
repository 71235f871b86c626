import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { familyOfAddress } from '../../core/address.ts';
import { SallyportError } from '../../core/errors.ts';

export interface ExchangeOptions<Answer> {
  readonly gateway: string;
  readonly port: number;
  readonly request: Uint8Array;
  /** What an answer says, `undefined` for one to something else; what it throws ends the exchange. */
  readonly read: (bytes: Uint8Array) => Answer | undefined;
  readonly signal: AbortSignal;
}

/**
 * One request to the router and its answer, over a UDP socket that takes datagrams from the router's port alone. Fails
 * with `TIMEOUT`, `ABORTED`, `PROTOCOL_ERROR`, or what `read` throws; the socket is closed in every case.
 */
export async function exchange<Answer>(options: ExchangeOptions<Answer>): Promise<Answer> {
  const { gateway, port, request, read, signal } = options;
  const socket = await connectedSocket(gateway, port, signal);
  const timers: NodeJS.Timeout[] = [];
  const settled = new AbortController();
  try {
    return await new Promise<Answer>((resolve, reject) => {
      if (signal.aborted) return reject(aborted(signal)); // while the socket was made
      socket.on('message', (bytes) => {
        try {
          const answer = read(bytes);
          if (answer !== undefined) resolve(answer);
        } catch (error) {
          reject(error);
        }
      });
      const unreachable = (cause: Error) =>
        reject(
          new SallyportError('UNSUPPORTED', 'the router maps no ports: nothing listens there', { cause }),
        );
      socket.on('error', unreachable);
      // A router without the service says so by ICMP, which fails the next send.
      for (const delay of TRANSMISSIONS_MS)
        timers.push(setTimeout(() => socket.send(request), delay).unref());
      timers.push(setTimeout(() => reject(noAnswer(gateway)), ANSWER_MS).unref());
      signal.addEventListener('abort', () => reject(aborted(signal)), {
        signal: settled.signal,
      });
    });
  } finally {
    timers.forEach(clearTimeout);
    settled.abort();
    socket.close();
  }
}

/** The address of this host that packets to `gateway` leave from. Fails with `UNSUPPORTED` or `ABORTED`. */
export async function localAddressTowards(gateway: string, signal: AbortSignal): Promise<string> {
  const socket = await connectedSocket(gateway, ANY_PORT, signal);
  const { address } = socket.address();
  socket.close();
  return address;
}

async function connectedSocket(gateway: string, port: number, signal: AbortSignal): Promise<Socket> {
  if (signal.aborted) throw aborted(signal);
  const socket = createSocket(familyOfAddress(gateway) === 6 ? 'udp6' : 'udp4');
  socket.unref();
  try {
    // Not by `connect`'s callback, which Node calls with the error as well.
    socket.connect(port, gateway);
    await once(socket, 'connect');
  } catch (cause) {
    socket.close();
    throw new SallyportError('UNSUPPORTED', `the router ${gateway} can't be reached`, { cause });
  }
  return socket;
}

function noAnswer(gateway: string): SallyportError {
  return new SallyportError('TIMEOUT', `the router ${gateway} did not answer`);
}

function aborted(signal: AbortSignal): SallyportError {
  return new SallyportError('ABORTED', 'the router is no longer asked', { cause: signal.reason });
}

/** As RFC 6886 §3.1 begins; it would go on for two minutes. */
const TRANSMISSIONS_MS = [0, 250, 750];
const ANSWER_MS = 1_750;
/** Nothing is sent there. */
const ANY_PORT = 9;
