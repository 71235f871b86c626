import { once } from 'node:events';
import { existsSync, readdirSync, unlinkSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { makeFolder } from '../src/net/make-folder.ts';

/** What a running agent says of itself, as `peer status` prints it. */
export interface AgentStatus {
  readonly pid: number;
  readonly command: string;
  readonly id: string;
  readonly rendezvous: string;
  readonly registered: boolean;
  readonly sessions: readonly unknown[];
  readonly forwards: readonly unknown[];
}

const ANSWER_TIMEOUT_MS = 1_000;

/** Answers `peer status` over a socket in a folder that only the user can enter. */
export class AgentSocket {
  #server: Server;
  #path: string;

  private constructor(server: Server, path: string) {
    this.#server = server;
    this.#path = path;
  }

  static async listen(folder: string, status: () => AgentStatus): Promise<AgentSocket> {
    makeFolder(folder, 0o700);
    const path = join(folder, `${process.pid}.sock`);
    if (existsSync(path)) unlinkSync(path);
    const server = createServer((socket) => {
      socket.on('error', () => socket.destroy());
      socket.end(JSON.stringify(status()));
    });
    server.listen(path);
    await once(server, 'listening');
    server.on('error', () => {}); // accept failed for want of descriptors: the next may not
    server.unref();
    return new AgentSocket(server, path);
  }

  async close(): Promise<void> {
    await new Promise((resolve) => {
      this.#server.close(resolve);
    });
    if (existsSync(this.#path)) unlinkSync(this.#path);
  }
}

/** Every agent that runs with this home. Sockets of agents that are gone are removed. */
export async function runningAgents(folder: string): Promise<AgentStatus[]> {
  if (!existsSync(folder)) return [];
  const answers = readdirSync(folder).map((name) => askAgent(join(folder, name)));
  return (await Promise.all(answers)).filter((status) => status !== undefined);
}

async function askAgent(path: string): Promise<AgentStatus | undefined> {
  const socket = connect(path);
  socket.setTimeout(ANSWER_TIMEOUT_MS, () => socket.destroy());
  try {
    await once(socket, 'connect');
    return JSON.parse(await text(socket)) as AgentStatus;
  } catch {
    if (existsSync(path) && socket.destroyed) unlinkIfDead(path);
    return undefined;
  }
}

function unlinkIfDead(path: string): void {
  const pid = Number(/(\d+)\.sock$/.exec(path)?.[1]);
  try {
    process.kill(pid, 0);
  } catch {
    unlinkSync(path);
  }
}
