import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';

/** What test/e2e/clients.test.ts runs; scripts/bootstrap.mjs installs them. */
const CLIENTS = ['ssh', 'sshd', 'curl', 'iperf3', 'redis-server', 'redis-cli', 'dnsmasq'];

/** Where a program is; `undefined` where it isn't. */
export function pathOf(name: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/sbin', ...postgresFolders()];
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
}

/** Debian keeps the servers of several versions side by side, and none of them on the path. */
function postgresFolders(): string[] {
  const versions = '/usr/lib/postgresql';
  return existsSync(versions) ? readdirSync(versions).map((version) => join(versions, version, 'bin')) : [];
}

/** True when all of these are there. */
export function installed(...names: string[]): boolean {
  return names.every((name) => pathOf(name) !== undefined);
}

export function missingClients(): string[] {
  return CLIENTS.filter((name) => !installed(name));
}

/** Starts a program, which is ended by its id when the test is done. */
export function startProgram(
  name: string,
  args: readonly string[],
  options: SpawnOptions = {},
): ChildProcess {
  return spawn(pathOf(name) ?? name, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
}

/** Runs a program to its end. */
export async function runProgram(
  name: string,
  args: readonly string[],
): Promise<{ status: number | null; stdout: string; stderr: string }> {
  const child = startProgram(name, args);
  const status = new Promise<number | null>((resolve) => child.on('close', resolve));
  const [stdout, stderr] = await Promise.all([text(child.stdout!), text(child.stderr!)]);
  return { status: await status, stdout, stderr };
}
