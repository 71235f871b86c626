import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

export interface MiddleboxOptions {
  /** Cuts off everything. */
  readonly refuses?: boolean;
  /** Takes connections, and never answers. */
  readonly silent?: boolean;
  /** Cuts off HTTP/2. */
  readonly http1Only?: boolean;
  /** Upgrades that are passed on; of other requests it takes the headers of the upgrade away, as a plain HTTP/1.1 proxy does. */
  readonly upgrades?: readonly string[];
  /** Swallows requests with an upgrade that isn't passed on, instead. */
  readonly swallows?: boolean;
  /** Of what comes behind an upgrade's request, nothing is passed on. */
  readonly deafAfterUpgrade?: boolean;
}

/** Something on loopback between a peer and the server at `target`, in cleartext. */
export class Middlebox {
  /** How many connections it has seen. */
  connections = 0;
  /** May be changed for connections to come. */
  options: MiddleboxOptions;
  readonly #sockets = new Set<Socket>();
  /** Downstream to upstream. */
  readonly #passed = new Map<Socket, Socket>();
  readonly #server;

  private constructor(target: URL, options: MiddleboxOptions) {
    this.options = options;
    this.#server = createServer({ allowHalfOpen: true }, (downstream) => {
      this.connections += 1;
      this.#sockets.add(downstream);
      downstream.on('error', () => undefined);
      if (this.options.refuses) downstream.destroy();
      if (this.options.silent) return;
      downstream.once('data', (first: Buffer) => this.#first(first.toString('latin1'), downstream, target));
    });
  }

  static async start(url: string, options: MiddleboxOptions): Promise<Middlebox> {
    const box = new Middlebox(new URL(url), options);
    box.#server.listen(0, '127.0.0.1');
    await once(box.#server, 'listening');
    return box;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** What there is leads nowhere any more, as after a change of address: it is reset when it is used, and the server hears nothing. */
  forget(): void {
    for (const [downstream, upstream] of this.#passed) {
      downstream.unpipe(upstream).on('data', () => downstream.resetAndDestroy());
      downstream.resume();
    }
    this.#passed.clear();
  }

  /** Cuts off what there is. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#sockets.clear();
  }

  async close(): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #first(first: string, downstream: Socket, target: URL): void {
    const { http1Only = false, upgrades, swallows = false, deafAfterUpgrade = false } = this.options;
    if (first.startsWith('PRI')) {
      if (http1Only) downstream.destroy();
      else this.#pass(first, downstream, target);
      return;
    }
    const upgrade = /^upgrade: (\S+)\r$/im.exec(first)?.[1];
    const passes = upgrade === undefined || (upgrades?.includes(upgrade) ?? true);
    if (!passes && swallows) return;
    const upstream = this.#pass(
      passes ? first : first.replace(/^(upgrade|connection): .*\r\n/gim, ''),
      downstream,
      target,
    );
    if (upgrade !== undefined && deafAfterUpgrade) downstream.unpipe(upstream).resume();
  }

  #pass(first: string, downstream: Socket, target: URL): Socket {
    const upstream = connect({ port: Number(target.port), host: target.hostname, allowHalfOpen: true });
    this.#sockets.add(upstream);
    this.#passed.set(downstream, upstream);
    upstream.on('error', () => downstream.destroy());
    upstream.on('close', () => downstream.destroy());
    downstream.on('close', () => this.#passed.delete(downstream) && upstream.destroy());
    upstream.write(first, 'latin1');
    downstream.pipe(upstream).pipe(downstream);
    return upstream;
  }
}
