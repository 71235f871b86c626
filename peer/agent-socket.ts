import { once } from 'node:events';
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { SallyportError } from '../src/core/errors.ts';
import { makeFolder } from '../src/net/make-folder.ts';
import { accessFailure } from '../src/net/private-file.ts';
import { MAX_SOCKET_PATH } from './target.ts';

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

/** One that is there and doesn't answer, such as a stopped process. */
export interface SilentAgent {
  readonly pid: number;
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

  /** @throws SallyportError `USAGE` where the folder's path is too long; `CONFIG_INVALID`, `DISK_FULL` where it can't be written */
  static async listen(folder: string, status: () => AgentStatus): Promise<AgentSocket> {
    const path = socketPath(folder);
    const server = createServer((socket) => {
      socket.on('error', () => socket.destroy());
      // Whoever asks waits no longer, and while one stays connected the server doesn't close.
      socket.setTimeout(ANSWER_TIMEOUT_MS, () => socket.destroy());
      socket.end(JSON.stringify(status()));
    });
    try {
      makeFolder(folder, 0o700);
      rmSync(path, { force: true });
      server.listen(path);
      await once(server, 'listening');
    } catch (cause) {
      throw accessFailure('write', path, cause);
    }
    server.on('error', () => {}); // accept failed for want of descriptors: the next may not
    server.unref();
    return new AgentSocket(server, path);
  }

  async close(): Promise<void> {
    await new Promise((resolve) => {
      this.#server.close(resolve);
    });
    rmSync(this.#path, { force: true });
  }
}

/** @throws SallyportError `USAGE` where the folder's path is too long */
function socketPath(folder: string): string {
  const path = join(folder, `${process.pid}.sock`);
  if (Buffer.byteLength(path) <= MAX_SOCKET_PATH) return path;
  throw new SallyportError(
    'USAGE',
    `the path of the home folder is too long for the sockets in it: ${dirname(folder)}`,
    {
      hint: 'choose another with --home, of at most 87 bytes',
    },
  );
}

/** Every agent that runs with this home. Sockets of agents that are gone are removed. */
export async function runningAgents(folder: string): Promise<(AgentStatus | SilentAgent)[]> {
  if (!existsSync(folder)) return [];
  const agents = readdirSync(folder).flatMap((name) => {
    const pid = /^(\d+)\.sock$/.exec(name)?.[1];
    return pid === undefined ? [] : [askAgent(Number(pid), join(folder, name))];
  });
  return (await Promise.all(agents)).filter((status) => status !== undefined);
}

async function askAgent(pid: number, path: string): Promise<AgentStatus | SilentAgent | undefined> {
  const socket = connect(path);
  const late = () => socket.destroy(new SallyportError('TIMEOUT', 'the agent did not answer'));
  socket.setTimeout(ANSWER_TIMEOUT_MS, late);
  try {
    await once(socket, 'connect');
    return JSON.parse(await text(socket)) as AgentStatus;
  } catch (thrown) {
    if (thrown instanceof SallyportError) return { pid };
    if (!isRunning(pid)) rmSync(path, { force: true }); // another `peer status` may have been faster
    return undefined;
  }
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
