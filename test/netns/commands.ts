import { execFile } from 'node:child_process';

export interface CommandResult {
  /** Exit status; null where a signal ended the command or it could not be started. */
  code: number | null;
  stdout: string;
  stderr: string;
}

export interface CommandOptions {
  stdin?: string;
  timeoutMs?: number;
}

/** Runs a command to its end. A failing command is a result, not an exception. */
export function runCommand(command: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  const [file = '', ...args] = command;
  return new Promise((resolve) => {
    const settings = { timeout: options.timeoutMs ?? 0, maxBuffer: 64 * 1024 * 1024 };
    const child = execFile(file, args, settings, (error, stdout, stderr) => {
      const started = child.pid !== undefined;
      resolve({ code: child.exitCode, stdout, stderr: started ? stderr : String(error?.message) });
    });
    // A command that ends without reading its input closes the pipe early: its exit status tells enough.
    child.stdin?.on('error', () => {});
    child.stdin?.end(options.stdin ?? '');
  });
}
