import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { runCommand, type CommandOptions, type CommandResult } from './commands.ts';
import type { Namespaces } from './namespaces.ts';

/** One computer of the lab: commands run there see its network only, and this machine's files. */
export class LabHost {
  readonly name: string;
  /** The host's own address; for a public server its first one. */
  readonly address: string;
  readonly addresses: readonly string[];
  readonly #enter: readonly string[];

  constructor(namespaces: Namespaces, name: string, addresses: readonly [string, ...string[]]) {
    this.name = name;
    this.address = addresses[0];
    this.addresses = addresses;
    // Whatever becomes of this process, the kernel kills what it started: `pdeathsig`.
    this.#enter = [...namespaces.enter(name), 'setpriv', '--pdeathsig', 'KILL', '--'];
  }

  /** The child is the command itself: its pid and signals are the command's own. */
  spawn(command: string, args: readonly string[] = [], options: SpawnOptions = {}): ChildProcess {
    const [file = '', ...prefix] = this.#enter;
    return spawn(file, [...prefix, command, ...args], options);
  }

  /** Runs a command to its end; a failing command is a result, not an exception. */
  exec(command: string, args: readonly string[] = [], options: CommandOptions = {}): Promise<CommandResult> {
    return runCommand([...this.#enter, command, ...args], options);
  }
}
