import { once } from 'node:events';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { connect, type AddressInfo, type Socket } from 'node:net';

interface TlsFiles {
  readonly cert: string;
  readonly key: string;
}

/** A CONNECT proxy on loopback that remembers what it was asked for. */
export class TinyProxy {
  readonly asked: string[] = [];
  readonly credentials: (string | undefined)[] = [];
  readonly #tls: TlsFiles | undefined;
  readonly #server;
  readonly #sockets = new Set<Socket>();
  /** What it answers when it has opened a tunnel. */
  success = 200;
  /** What it answers instead of opening a tunnel. */
  refusal: number | undefined;

  private constructor(tls: TlsFiles | undefined) {
    this.#tls = tls;
    this.#server = tls ? createTlsServer(tls) : createServer();
    this.#server.on('request', (_request, response) => response.writeHead(405).end());
  }

  /** @param tls for one that is spoken to over TLS itself */
  static async start(tls?: TlsFiles): Promise<TinyProxy> {
    const proxy = new TinyProxy(tls);
    proxy.#server.on('connect', (request, downstream) => {
      proxy.asked.push(request.url ?? '');
      proxy.credentials.push(request.headers['proxy-authorization']);
      proxy.#tunnel(request.url ?? '', downstream as Socket);
    });
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get url(): string {
    return `${this.#tls ? 'https' : 'http'}://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #tunnel(authority: string, downstream: Socket): void {
    this.#sockets.add(downstream);
    downstream.on('error', () => undefined);
    if (this.refusal !== undefined) {
      downstream.end(`HTTP/1.1 ${this.refusal} No\r\nContent-Length: 0\r\n\r\n`);
      return;
    }
    const { hostname, port } = new URL(`http://${authority}`);
    const upstream = connect(Number(port), hostname, () => {
      downstream.write(`HTTP/1.1 ${this.success} Connection established\r\n\r\n`);
      downstream.pipe(upstream).pipe(downstream);
    });
    this.#sockets.add(upstream);
    upstream.on('error', () => downstream.destroy());
    downstream.on('close', () => upstream.destroy());
  }
}
