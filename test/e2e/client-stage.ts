import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server } from 'node:net';
import { Stage, type CommandEvent, type RunningCommand } from './commands.ts';

export const HANG = { timeout: 60_000 };

/** A stage for programs that people use: bob's `peer up`, alice's `peer connect`, and the servers behind bob. */
export class ClientStage extends Stage {
  #closers: (() => unknown)[] = [];

  /** bob, who exposes what the arguments say. */
  async bobUp(...args: readonly string[]): Promise<{ url: string; id: string }> {
    const { url } = await this.rendezvous();
    const id = await this.id('bob');
    await this.peer('bob', 'up', '--rendezvous', url, '--allow', 'any', ...args).event('registered');
    return { url, id };
  }

  /** bob, and alice's `peer connect` with her arguments, and where her forwards listen. */
  async forwarded(
    up: readonly string[],
    connectArgs: readonly string[],
  ): Promise<{ alice: RunningCommand; ports: number[] }> {
    const { url, id } = await this.bobUp(...up);
    const alice = this.peer('alice', 'connect', id, '--rendezvous', url, ...connectArgs);
    const count = connectArgs.filter((arg) => /^-[LRD]$/.test(arg)).length;
    const forwards: CommandEvent[] = [];
    while (forwards.length < count)
      forwards.push(await alice.event('forward', (event) => !forwards.includes(event)));
    return { alice, ports: forwards.map(({ listen }) => Number(String(listen).split(':').at(-1))) };
  }

  /** A program that is killed when the test is done, if it still runs. */
  ended(child: ChildProcess): ChildProcess {
    this.onClose(async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const closed = once(child, 'close');
      child.kill('SIGKILL');
      await closed;
    });
    return child;
  }

  /** Where a server of this test listens from now on. */
  async portOf(server: Server): Promise<number> {
    await once(server.listen(0, '127.0.0.1'), 'listening');
    this.onClose(() => server.close());
    return (server.address() as AddressInfo).port;
  }

  onClose(close: () => unknown): void {
    this.#closers.push(close);
  }

  override async close(): Promise<void> {
    for (const close of this.#closers.toReversed()) await close();
    await super.close();
  }
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** True where something accepts connections. */
export async function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  return once(socket, 'connect')
    .then(
      () => true,
      () => false,
    )
    .finally(() => socket.destroy());
}
