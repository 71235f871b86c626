import { lookup } from 'node:dns/promises';
import { connect, type Socket } from 'node:net';
import { isAddress } from '../../src/core/address.ts';
import { SallyportError } from '../../src/core/errors.ts';
import { mayDialAddress } from '../exposure.ts';

export interface TargetOptions {
  readonly host: string;
  readonly port: number;
  /** False where only the resolved address can tell whether the target may be reached (`--expose any`). */
  readonly checked: boolean;
}

const CONNECT_TIMEOUT_MS = 10_000;

/**
 * Dials an exposed target. A name is resolved once, and the address that was checked is the one that is dialled.
 * @throws SallyportError `TARGET_REFUSED`, `NOT_AUTHORIZED`
 */
export async function dialTarget({ host, port, checked }: TargetOptions): Promise<Socket> {
  const address = await resolveTarget(host);
  if (!checked && !mayDialAddress(address)) {
    throw new SallyportError(
      'NOT_AUTHORIZED',
      `${host} is at ${address}, which is never reached from outside`,
    );
  }
  return new Promise((resolve, reject) => {
    const socket = connect({ host: address, port, allowHalfOpen: true, noDelay: true });
    const fail = (cause: unknown, why: string) => {
      socket.destroy();
      reject(new SallyportError('TARGET_REFUSED', `${host}:${port} ${why}`, { cause }));
    };
    socket.setTimeout(CONNECT_TIMEOUT_MS, () => fail(undefined, 'did not answer'));
    socket.once('error', (error: NodeJS.ErrnoException) => fail(error, reasonOf(error)));
    socket.once('connect', () => {
      socket.setTimeout(0);
      socket.removeAllListeners('error');
      resolve(socket);
    });
  });
}

async function resolveTarget(host: string): Promise<string> {
  if (isAddress(host)) return host;
  try {
    return (await lookup(host)).address;
  } catch (cause) {
    throw new SallyportError('TARGET_REFUSED', `${host} has no address`, { cause });
  }
}

function reasonOf(error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case 'ECONNREFUSED':
      return 'refused the connection';
    case 'ENETUNREACH':
    case 'EHOSTUNREACH':
      return 'is unreachable';
    case undefined:
    default:
      return `could not be reached (${error.code ?? error.message})`;
  }
}
