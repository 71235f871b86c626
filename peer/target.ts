import { parseHostPort } from '../src/core/endpoint.ts';
import { SallyportError } from '../src/core/errors.ts';

/** What is dialled at an end of a forward. */
export type Target =
  | { readonly via: 'tcp' | 'udp'; readonly host: string; readonly port: number }
  | { readonly via: 'unix'; readonly path: string };

/** `host:port`, `host:port/udp` or `/path/of.sock`. @throws SallyportError `USAGE` */
export function parseDialTarget(text: string): Target {
  if (text.startsWith('/') && !text.startsWith('//')) return { via: 'unix', path: parseSocketPath(text) };
  const { transport, rest } = cutTransport(text);
  const { host, port } = parseHostPort(rest);
  if (host === '' || port === 0) {
    throw new SallyportError('USAGE', `not a target: ${JSON.stringify(text)}`, {
      hint: 'write host:port, host:port/udp or /path/of.sock',
    });
  }
  return { via: transport, host, port };
}

/** Cuts `/udp` off. */
export function cutTransport(text: string): { transport: 'tcp' | 'udp'; rest: string } {
  return text.endsWith('/udp')
    ? { transport: 'udp', rest: text.slice(0, -'/udp'.length) }
    : { transport: 'tcp', rest: text };
}

/** @throws SallyportError `USAGE` for one that doesn't fit into the kernel's address */
export function parseSocketPath(path: string): string {
  if (Buffer.byteLength(path) <= MAX_SOCKET_PATH && !path.includes('\0')) return path;
  throw new SallyportError('USAGE', `the path of a socket is too long: ${path}`, {
    hint: `a path of at most ${MAX_SOCKET_PATH} bytes`,
  });
}

export function targetText(target: Target): string {
  if (target.via === 'unix') return target.path;
  const { host, port, via } = target;
  return `${host.includes(':') ? `[${host}]` : host}:${port}${via === 'udp' ? '/udp' : ''}`;
}

/** `sun_path` of Linux has 108 bytes, with a zero at the end. */
export const MAX_SOCKET_PATH = 107;
