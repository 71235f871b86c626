import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import type { TestDeployment } from './deployment.ts';

/** A way to the rendezvous on which the answers can be held back, and then the kernel's buffers fill. */
export interface StoppablePipe {
  readonly url: string;
  /** How many connections were made. */
  readonly connections: number;
  /** Bytes that the rendezvous has answered, held back or not. */
  readonly answered: number;
  /** Holds back the answers on every connection that there is, … */
  stop(): void;
  /** … and on those to come. */
  stopNew(): void;
  go(): void;
  /** Lets through those made since `stop` alone: what was there before stays silent. */
  goNew(): void;
}

export async function stoppablePipe(deployment: TestDeployment): Promise<StoppablePipe> {
  const { port, hostname } = new URL(deployment.server.url);
  const pairs: [Socket, Socket][] = [];
  let stopped = false;
  let old = 0;
  const server = createServer((near) => {
    const far = connect(Number(port), hostname);
    pairs.push([near, far]);
    near.on('error', () => far.destroy()).on('close', () => far.destroy());
    far.on('error', () => near.destroy()).on('close', () => near.destroy());
    near.pipe(far);
    if (!stopped) far.pipe(near);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  deployment.onClose(() => {
    server.close();
    for (const sockets of pairs) for (const socket of sockets) socket.destroy();
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get connections() {
      return pairs.length;
    },
    get answered() {
      return pairs.reduce((bytes, [, far]) => bytes + far.bytesRead, 0);
    },
    stop: () => {
      old = pairs.length;
      for (const [near, far] of pairs) far.unpipe(near).pause();
    },
    stopNew: () => {
      stopped = true;
    },
    go: () => {
      stopped = false;
      for (const [near, far] of pairs) far.pipe(near);
    },
    goNew: () => {
      stopped = false;
      for (const [near, far] of pairs.slice(old)) far.pipe(near);
    },
  };
}
