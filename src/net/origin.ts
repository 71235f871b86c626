import type { Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { SallyportError, asSallyportError, type ErrorCode } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import { connectHost } from './connect-host.ts';
import { exporterOf } from './knock.ts';
import { outOfFiles } from './out-of-files.ts';
import { hostOf, openTunnel, portOf, proxyFor, serverName, type Environment } from './proxy.ts';

/** How to reach a rendezvous or relay: its URL, and what this host says about proxies and authorities. */
export interface Origin {
  /** `https://host[:port]` or `http://host[:port]`. */
  readonly url: string;
  /** Where `HTTPS_PROXY` and its kin are read. @default process.env */
  readonly environment?: Environment | undefined;
  /** PEM certificates to trust instead of the system's. */
  readonly ca?: string | undefined;
  /** @default LIMITS.handshakeStepMs */
  readonly timeoutMs?: number | undefined;
}

export interface OriginSocket {
  /** Connected, and secured where the URL says so. */
  readonly socket: Socket;
  /** What ALPN chose; `undefined` on cleartext or where the server has no opinion. */
  readonly protocol: string | undefined;
  /** Keying material of the TLS connection to the origin itself, which one to a proxy is not; empty on cleartext. */
  readonly exporter: Uint8Array;
  readonly proxied: boolean;
}

/**
 * Opens a connection to an origin, through the environment's proxy if it names one.
 * @param alpn protocols to offer under TLS
 * @param unreachable the code of a failure to get there
 * @param signal aborting it gives up
 */
export async function connectOrigin(
  origin: Origin,
  alpn: readonly string[],
  unreachable: ErrorCode,
  signal?: AbortSignal,
): Promise<OriginSocket> {
  const url = new URL(origin.url);
  const late = AbortSignal.timeout(origin.timeoutMs ?? LIMITS.handshakeStepMs);
  const timeout = signal ? AbortSignal.any([late, signal]) : late;
  const proxy = proxyFor(url, origin.environment ?? process.env);
  try {
    const raw = proxy
      ? await openTunnel(proxy, url, timeout)
      : await connectHost(hostOf(url), Number(portOf(url)), timeout);
    raw.setNoDelay(true);
    raw.setKeepAlive(true, 30_000);
    const proxied = proxy !== undefined;
    if (url.protocol !== 'https:')
      return { socket: raw, protocol: undefined, exporter: new Uint8Array(), proxied };
    const socket = await secure(raw, url, alpn, origin.ca, timeout);
    return { socket, protocol: socket.alpnProtocol || undefined, exporter: exporterOf(socket), proxied };
  } catch (thrown) {
    throw unreachableError(thrown, url, proxy, unreachable);
  }
}

async function secure(
  raw: Socket,
  url: URL,
  alpn: readonly string[],
  ca: string | undefined,
  signal: AbortSignal,
): Promise<TLSSocket> {
  const host = hostOf(url);
  const socket = connectTls({
    socket: raw,
    host,
    ...serverName(host),
    ALPNProtocols: [...alpn],
    ...(ca && { ca }),
  });
  await secured(socket, signal);
  return socket;
}

/** The signal counts until the event only: Node's own `signal` option would end the socket whenever it fires. */
function secured(socket: TLSSocket, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = () => socket.destroy(signal.reason as Error);
    const closed = () => reject(new Error('the connection was closed'));
    signal.addEventListener('abort', abort, { once: true });
    socket.once('error', reject);
    socket.once('close', closed);
    socket.once('secureConnect', () => {
      signal.removeEventListener('abort', abort);
      socket.off('error', reject).off('close', closed);
      resolve();
    });
  });
}

function unreachableError(
  thrown: unknown,
  url: URL,
  proxy: URL | undefined,
  code: ErrorCode,
): SallyportError {
  if (thrown instanceof SallyportError && thrown.code !== 'RENDEZVOUS_UNREACHABLE') return thrown;
  const tooMany = outOfFiles(thrown);
  if (tooMany) return tooMany;
  const timedOut =
    thrown instanceof Error && (thrown.name === 'TimeoutError' || thrown.name === 'AbortError');
  const said = opensslReason(thrown) ?? asSallyportError(thrown).message.replace(/ - Local \(.*\)$/, ''); // which is 0.0.0.0:0
  const why = timedOut ? 'no answer in time' : said || 'connection failed';
  const where = proxy ? `${url.host} through the proxy ${proxy.host}` : url.host;
  const known = hints.find(([pattern]) => pattern.test(`${(thrown as NodeJS.ErrnoException).code} ${why}`));
  return new SallyportError(code, `can't reach ${where}: ${why}`, {
    hint: known?.[1] ?? `check that the server is up and that ${url.host} is reachable from here`,
    cause: thrown,
  });
}

/** OpenSSL's own words are a line with addresses and places in its source. */
function opensslReason(thrown: unknown): string | undefined {
  const { code, reason } = thrown as { code?: unknown; reason?: unknown };
  return String(code).startsWith('ERR_SSL_') && typeof reason === 'string' ? `TLS: ${reason}` : undefined;
}

/** What helps against a failure, by Node's code and words for it. */
const hints: readonly (readonly [RegExp, string])[] = [
  [/ENETUNREACH|EHOSTUNREACH/, 'no network of this computer leads there: is it connected?'],
  [/ALTNAME/, 'the URL needs a name that the certificate is for'],
  [/EXPIRED|NOT_YET_VALID/, 'the certificate has to be renewed, or this host’s clock is wrong'],
  [/SELF_SIGNED|UNABLE_TO_(VERIFY|GET)/, 'NODE_EXTRA_CA_CERTS=<file> trusts an authority of your own'],
  [
    /EPROTO|WRONG_VERSION|before secure TLS/,
    'the URL of a server started with --insecure begins with http://',
  ],
];
