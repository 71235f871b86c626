import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** A middlebox on loopback that passes HTTP/1.1 on to `target` and cuts off HTTP/2. */
export class Http1Gate {
  readonly #sockets = new Set<Socket>();
  readonly #server;

  private constructor(target: URL) {
    this.#server = createServer((downstream) => {
      this.#sockets.add(downstream);
      downstream.on('error', () => undefined);
      downstream.once('data', (first: Buffer) => {
        if (first.toString('latin1').startsWith('PRI')) downstream.destroy();
        else this.#pass(first, downstream, target);
      });
    });
  }

  static async start(url: string): Promise<Http1Gate> {
    const gate = new Http1Gate(new URL(url));
    gate.#server.listen(0, '127.0.0.1');
    await once(gate.#server, 'listening');
    return gate;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #pass(first: Buffer, downstream: Socket, target: URL): void {
    const upstream = connect(Number(target.port), target.hostname);
    this.#sockets.add(upstream);
    upstream.on('error', () => downstream.destroy());
    upstream.on('close', () => downstream.destroy());
    downstream.on('close', () => upstream.destroy());
    upstream.write(first);
    downstream.pipe(upstream).pipe(downstream);
  }
}
