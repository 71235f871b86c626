import { once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { formatEndpoint, parseHostPort } from '../../src/core/endpoint.ts';
import { asSallyportError, SallyportError } from '../../src/core/errors.ts';
import type { StreamPurpose } from '../../src/core/protocol/open.ts';
import { splice } from './splice.ts';

/** `-L [bind:]port:<host:port|service>`: where to listen here, and what to open over there. */
export interface ForwardSpec {
  readonly bind: string;
  readonly port: number;
  readonly purpose: StreamPurpose;
}

/** What a forward needs of a session. */
export interface StreamOpener {
  openPurpose(purpose: StreamPurpose, options?: { signal?: AbortSignal }): Promise<Duplex>;
}

/** As in ssh: `8080:127.0.0.1:80`, `8080:web`, `127.0.0.1:8080:host:80`, `[::1]:8080:[::1]:80`. @throws SallyportError `USAGE`, `UNSUPPORTED` */
export function parseForward(text: string): ForwardSpec {
  if (text.endsWith('/udp')) {
    throw new SallyportError('UNSUPPORTED', `UDP forwards are not carried yet: ${text}`, {
      hint: 'forward a TCP port',
    });
  }
  const parts = text.match(/\[[^\]]*\]|[^:]+/g) ?? [];
  // port:service · port:host:port · bind:port:service · bind:port:host:port; only a port is all digits in its place
  const bound =
    parts.length === 4 || (parts.length === 3 && !isPort(parts[0] ?? '') && isPort(parts[1] ?? ''));
  const [bind, port, ...target] = bound ? parts : ['127.0.0.1', ...parts];
  if (bind === undefined || port === undefined || !isPort(port) || target.length < 1 || target.length > 2) {
    throw new SallyportError('USAGE', `not a forward: ${JSON.stringify(text)}`, {
      hint: 'write [bind:]port:host:port or [bind:]port:service',
    });
  }
  return { bind: bind.replace(/^\[|\]$/g, ''), port: Number(port), purpose: parseTarget(target.join(':')) };
}

/** What `-W` and `-L` name over there: `host:port`, or a service by name. @throws SallyportError `USAGE` */
export function parseTarget(text: string): StreamPurpose {
  if (text === '') throw noTarget(text);
  if (!text.includes(':')) return { for: 'service', name: text };
  const { host, port } = parseHostPort(text);
  if (host === '' || port === 0) throw noTarget(text);
  return { for: 'target', host, port };
}

/** A listening forward: each connection here is one stream over there. */
export class Forward {
  readonly listen: string;
  #server: Server;
  #connections = new Set<Socket>();

  private constructor(server: Server) {
    this.#server = server;
    const { address, port } = server.address() as AddressInfo;
    this.listen = formatEndpoint({ address, port });
  }

  /**
   * @param onError told of each connection that could not be carried
   * @throws SallyportError `PORT_IN_USE`, `USAGE`
   */
  static async start(
    spec: ForwardSpec,
    opener: StreamOpener,
    onError: (error: SallyportError) => void,
  ): Promise<Forward> {
    const server = createServer({ allowHalfOpen: true, noDelay: true });
    server.listen({ host: spec.bind, port: spec.port });
    await once(server, 'listening').catch((cause: unknown) => {
      throw listenError(spec, cause);
    });
    const forward = new Forward(server);
    server.on('connection', (socket) => {
      forward
        .#carry(socket, spec.purpose, opener)
        .catch((thrown: unknown) => onError(asSallyportError(thrown)));
    });
    return forward;
  }

  async close(): Promise<void> {
    for (const socket of this.#connections) socket.resetAndDestroy();
    await new Promise((resolve) => {
      this.#server.close(resolve);
    });
  }

  async #carry(socket: Socket, purpose: StreamPurpose, opener: StreamOpener): Promise<void> {
    this.#connections.add(socket);
    socket.on('close', () => this.#connections.delete(socket));
    socket.on('error', () => socket.destroy());
    try {
      await splice(socket, await opener.openPurpose(purpose));
    } catch (thrown) {
      socket.resetAndDestroy();
      // A client that hangs up early is no failure of the forward.
      if (thrown instanceof SallyportError) throw thrown;
    }
  }
}

function noTarget(text: string): SallyportError {
  return new SallyportError('USAGE', `not a target: ${JSON.stringify(text)}`, {
    hint: 'write host:port or the name of a service',
  });
}

function isPort(text: string): boolean {
  return /^\d{1,5}$/.test(text) && Number(text) <= 65_535;
}

function listenError({ bind, port }: ForwardSpec, cause: unknown): SallyportError {
  const { code } = cause as NodeJS.ErrnoException;
  if (code === 'EADDRINUSE') {
    return new SallyportError('PORT_IN_USE', `port ${port} on ${bind} is in use`, {
      hint: 'choose another port, or 0 for any',
      cause,
    });
  }
  return new SallyportError('USAGE', `can't listen on ${bind}:${port} (${code ?? String(cause)})`, {
    hint: 'give an address of this host, and a port that this user may use',
    cause,
  });
}
