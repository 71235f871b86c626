import { request } from 'node:http';
import type { Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { isAddress } from '../core/address.ts';
import { SallyportError } from '../core/errors.ts';
import { connectHost } from './connect-host.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The HTTP proxy that `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` (or their lower-case twins) name for
 * `target`; `undefined` for a direct connection.
 * @throws SallyportError `CONFIG_INVALID` when the variable holds no http or https URL
 */
export function proxyFor(target: URL, environment: Environment): URL | undefined {
  const read = (name: string) => environment[name.toLowerCase()] || environment[name] || undefined;
  const text = read(target.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY') ?? read('ALL_PROXY');
  if (text === undefined || isExempt(target, read('NO_PROXY') ?? '')) return undefined;
  const proxy = URL.canParse(text) ? new URL(text) : undefined;
  if (proxy?.protocol !== 'http:' && proxy?.protocol !== 'https:') {
    throw new SallyportError('CONFIG_INVALID', 'the proxy of the environment is not an HTTP proxy', {
      hint: 'set it as http://host:port, or add this host to NO_PROXY',
    });
  }
  return proxy;
}

/** `NO_PROXY` as curl reads it: `*`, or hosts, domains (with or without a leading dot), each with or without a port. */
function isExempt(target: URL, list: string): boolean {
  const host = hostOf(target).toLowerCase();
  const entries = list
    .toLowerCase()
    .split(/[\s,]+/)
    .filter(Boolean);
  return entries.some((entry) => {
    if (entry === '*') return true;
    const [, name = '', port] = /^\[?([^\]]*?)\]?(?::(\d+))?$/.exec(entry) ?? [];
    if (port !== undefined && port !== portOf(target)) return entry === host; // an IPv6 address has colons too
    const domain = name.replace(/^\*?\./, '');
    return host === domain || host.endsWith(`.${domain}`);
  });
}

export function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '');
}

export function portOf(url: URL): string {
  return url.port || (url.protocol === 'https:' ? '443' : '80');
}

/**
 * A byte pipe to `target`'s host and port through `proxy`, by CONNECT (RFC 9110 §9.3.6), for cleartext targets too.
 * @throws SallyportError `NOT_AUTHORIZED` (the proxy wants a password), `RENDEZVOUS_UNREACHABLE`
 */
export async function openTunnel(proxy: URL, target: URL, signal: AbortSignal): Promise<Socket> {
  const authority = `${target.hostname}:${portOf(target)}`;
  const headers: Record<string, string> = { host: authority };
  if (proxy.username) {
    const credentials = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
    headers['proxy-authorization'] = `Basic ${Buffer.from(credentials).toString('base64')}`;
  }
  const host = hostOf(proxy);
  const raw = await connectHost(host, Number(portOf(proxy)), signal);
  const socket = proxy.protocol === 'https:' ? connectTls({ socket: raw, host, ...serverName(host) }) : raw;
  return new Promise((resolve, reject) => {
    const connect = request({
      createConnection: () => socket,
      method: 'CONNECT',
      path: authority,
      headers,
    });
    const abort = () => connect.destroy(signal.reason as Error);
    signal.addEventListener('abort', abort, { once: true });
    connect.once('close', () => signal.removeEventListener('abort', abort));
    connect.once('error', reject);
    connect.once('response', (response) => connect.destroy(proxyRefusal(response.statusCode)));
    connect.once('connect', (response, socket, head) => {
      signal.removeEventListener('abort', abort);
      if (response.statusCode! >= 200 && response.statusCode! < 300) {
        if (head.length > 0) socket.unshift(head);
        resolve(socket);
        return;
      }
      socket.destroy();
      reject(proxyRefusal(response.statusCode));
    });
    connect.end();
  });
}

/** TLS names its server where that has a name (RFC 6066 §3). */
export function serverName(host: string): { servername?: string } {
  return isAddress(host) ? {} : { servername: host };
}

function proxyRefusal(status: number | undefined): SallyportError {
  if (status === 407) {
    return new SallyportError('NOT_AUTHORIZED', 'the HTTP proxy wants a password', {
      hint: 'put it into HTTPS_PROXY as http://user:password@host:port',
    });
  }
  return new SallyportError('RENDEZVOUS_UNREACHABLE', `the HTTP proxy answered CONNECT with ${status}`);
}
