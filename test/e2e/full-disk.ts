import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ChildProcess } from 'node:child_process';
import type { RunOptions } from './commands.ts';

/** Bytes that fit on the disk; with room for pages of 64 KiB, in which some machines count. */
const SIZE = 1_048_576;
/** A multiple of every page size: what goes on from here needs room of its own. */
export const PAGE = 65_536;

/** A mount namespace needs no root where a user namespace may be had. */
const UNSHARE = process.getuid?.() === 0 ? ['-m'] : ['-U', '-r', '-m'];

/** Whether this machine lets its user mount a disk that nobody else sees, tried for real. */
export const canMount =
  process.platform === 'linux' &&
  spawnSync('unshare', [...UNSHARE, 'mount', '-t', 'tmpfs', 'tmpfs', tmpdir()]).status === 0;

/** A small file system of its own, in a mount namespace that goes with the process that holds it. */
export class Disk {
  /** Where the disk is for commands that were started with `start`. */
  readonly folder = mkdtempSync(join(tmpdir(), 'sallyport-disk-'));
  readonly #holder: ChildProcess;

  private constructor() {
    const script = `mount -t tmpfs -o size=${SIZE} tmpfs "$0" && echo ready && exec cat`;
    this.#holder = spawn('unshare', [...UNSHARE, 'sh', '-c', script, this.folder]);
  }

  static async mount(): Promise<Disk> {
    const disk = new Disk();
    await once(disk.#holder.stdout!, 'data');
    return disk;
  }

  /** The same folder as this process reaches it. */
  get here(): string {
    return `/proc/${this.#holder.pid}/root${this.folder}`;
  }

  /** Starts a process that sees the disk. */
  readonly start: RunOptions['start'] = (file, args, options) =>
    spawn('nsenter', [...this.#enter(), file, ...args], options);

  makeReadOnly(): void {
    spawnSync('nsenter', [...this.#enter(), 'mount', '-o', 'remount,ro', this.folder]);
  }

  /** Nothing can be written to this one file of the disk. Returns how to let it be written again. */
  protect(name: string): () => void {
    const path = join(this.folder, name);
    const mount = (...args: string[]) => spawnSync('nsenter', [...this.#enter(), ...args, path]);
    mount('mount', '--bind', path);
    mount('mount', '-o', 'remount,ro,bind');
    return () => void mount('umount');
  }

  /** Takes every page that is left. Returns how to give them back. */
  fill(): () => void {
    const filler = join(this.here, 'filler');
    spawnSync('dd', ['if=/dev/zero', `of=${filler}`, 'bs=4096']);
    return () => rmSync(filler);
  }

  async unmount(): Promise<void> {
    const ended = once(this.#holder, 'exit');
    this.#holder.kill('SIGKILL');
    await ended;
    rmSync(this.folder, { recursive: true });
  }

  #enter(): string[] {
    const user = UNSHARE.includes('-U') ? ['-U', '--preserve-credentials'] : [];
    return ['-t', String(this.#holder.pid), ...user, '-m', '--'];
  }
}
