import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { familyOfAddress, isAddress } from '../../src/core/address.ts';
import { SallyportError } from '../../src/core/errors.ts';
import { LIMITS } from '../../src/core/limits.ts';
import { enlargeBuffers } from '../../src/net/enlarge-buffers.ts';
import { mayDialAddress } from '../exposure.ts';
import { targetText, type Target } from '../target.ts';
import { Turns } from '../turns.ts';

type NetworkTarget = Exclude<Target, { via: 'unix' }>;

const CONNECT_TIMEOUT_MS = 10_000;

/** Of the whole process: a peer that may name any target gets names looked up that nobody answers for. */
const lookups = new Turns(LIMITS.lookupsAtOnce);

/**
 * Dials an exposed TCP target or Unix socket. A name is resolved once, and the addresses that were checked are those
 * that are dialled, one after the other.
 * @param checked false where only the resolved address can tell whether the target may be reached
 * @param stream that the target is dialled for, no longer than it is there
 * @throws SallyportError `TARGET_REFUSED`, `TARGET_UNREACHABLE`, `NOT_AUTHORIZED`, `ABORTED`
 */
export async function dialTarget(target: Target, checked: boolean, stream?: Duplex): Promise<Socket> {
  if (target.via === 'unix') return dialOne({ path: target.path }, target.path, stream);
  let failure: unknown;
  for (const host of await addressesOf(target, checked, stream)) {
    try {
      return await dialOne({ host, port: target.port, noDelay: true }, targetText(target), stream);
    } catch (thrown) {
      failure ??= thrown;
    }
  }
  throw failure;
}

/** A UDP socket connected to an exposed target, so that it takes datagrams from nobody else. @throws like `dialTarget` */
export async function dialUdpTarget(
  target: NetworkTarget,
  checked: boolean,
  stream: Duplex,
): Promise<UdpSocket> {
  const [host] = await addressesOf(target, checked, stream);
  const socket = createSocket(familyOfAddress(host) === 6 ? 'udp6' : 'udp4');
  try {
    socket.connect(target.port, host);
    await once(socket, 'connect');
    enlargeBuffers(socket);
    return socket;
  } catch (cause) {
    socket.close();
    throw dialFailure(targetText(target), cause as NodeJS.ErrnoException);
  }
}

/** What the target's host resolves to and may be dialled, at least one. @throws SallyportError `TARGET_UNREACHABLE`, `NOT_AUTHORIZED`, `ABORTED` */
async function addressesOf(
  { host }: NetworkTarget,
  checked: boolean,
  stream: Duplex | undefined,
): Promise<[string, ...string[]]> {
  const addresses = isAddress(host) ? [host] : await lookups.take(() => resolve(host, stream));
  const [first, ...rest] = checked ? addresses : addresses.filter(mayDialAddress);
  if (first === undefined) {
    const where = isAddress(host) ? host : `${host} is at ${addresses[0]}, which`;
    throw new SallyportError('NOT_AUTHORIZED', `${where} is never reached by \`--expose any\``);
  }
  return [first, ...rest];
}

async function resolve(host: string, stream: Duplex | undefined): Promise<string[]> {
  if (stream?.destroyed) throw noLongerWanted();
  try {
    return (await lookup(host, { all: true })).map(({ address }) => address);
  } catch (cause) {
    throw new SallyportError('TARGET_UNREACHABLE', `${host} has no address`, { cause });
  }
}

function dialOne(
  to: { path: string } | { host: string; port: number; noDelay: boolean },
  name: string,
  stream: Duplex | undefined,
): Promise<Socket> {
  return new Promise((resolveSocket, reject) => {
    if (stream?.destroyed) return reject(noLongerWanted());
    const socket = connect({ ...to, allowHalfOpen: true });
    const settled = () => {
      clearTimeout(timer);
      stream?.off('close', unwanted);
    };
    const fail = (error: SallyportError) => {
      settled();
      socket.destroy();
      reject(error);
    };
    const unwanted = () => fail(noLongerWanted());
    stream?.once('close', unwanted);
    const late = () => fail(new SallyportError('TARGET_UNREACHABLE', `${name} did not answer`));
    const timer = setTimeout(late, CONNECT_TIMEOUT_MS);
    const failed = (error: NodeJS.ErrnoException) => fail(dialFailure(name, error));
    socket.once('error', failed);
    socket.once('connect', () => {
      settled();
      socket.off('error', failed);
      resolveSocket(socket);
    });
  });
}

function noLongerWanted(): SallyportError {
  return new SallyportError('ABORTED', 'the stream has ended meanwhile');
}

function dialFailure(name: string, cause: NodeJS.ErrnoException): SallyportError {
  switch (cause.code) {
    case 'ECONNREFUSED':
    // Accepted and reset before we had heard of the first.
    case 'ECONNRESET':
    case 'ENOENT':
      return new SallyportError('TARGET_REFUSED', `${name} refused the connection`, { cause });
    case 'EMFILE':
    case 'ENFILE':
      return new SallyportError('LIMIT', 'the other side has no more files to open', { cause });
    case undefined:
    default: {
      const why = cause.code ?? cause.message;
      return new SallyportError('TARGET_UNREACHABLE', `${name} could not be reached (${why})`, { cause });
    }
  }
}
