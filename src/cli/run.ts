import { CommanderError, InvalidArgumentError, Option, type Command } from 'commander';
import { parseDuration } from '../core/duration.ts';
import { asSallyportError, SallyportError } from '../core/errors.ts';
import { isDiskFull } from '../net/write-whole.ts';
import { EXIT, exitCodeOf } from './exit-codes.ts';
import { HELP_LAYOUT, readHelpCommand } from './help.ts';
import { Reporter, type ReporterOptions } from './reporter.ts';
import { readSwitches } from './switches.ts';
import { hasLostTerminal } from './terminal.ts';
import { writeToFilesWhole } from './whole-output.ts';

/** An option with its environment twin: `--public-address` is `SALLYPORT_PUBLIC_ADDRESS`. */
export function option(flags: string, description: string): Option {
  const created = new Option(flags, description);
  return created.env(`SALLYPORT_${created.name().toUpperCase().replaceAll('-', '_')}`);
}

/** The options that every command has. */
export function withSharedOptions(command: Command): Command {
  return command
    .addOption(option('--json', 'one JSON object per line on stderr; reports on stdout'))
    .addOption(option('--quiet', 'say nothing but errors'))
    .addOption(option('--verbose', 'say more; show stack traces'));
}

export function integerBetween(low: number, high: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < low || value > high) {
      throw new InvalidArgumentError(`expected a whole number from ${low} to ${high}.`);
    }
    return value;
  };
}

/**
 * Reads `2s` or `500ms`, and a number alone as so many of the option's own unit.
 * @param unit of that number, of the limits and of the result
 */
export function durationBetween(low: number, high: number, unit: 'ms' | 's'): (text: string) => number {
  return (text) => {
    const milliseconds = parseDuration(text, unit) ?? NaN;
    const value = unit === 's' ? milliseconds / 1_000 : milliseconds;
    if (value >= low && value <= high) return value;
    throw new InvalidArgumentError(
      `expected a duration such as 2s or 500ms, from ${low}${unit} to ${high}${unit}.`,
    );
  };
}

/**
 * Runs a command line and ends the process with its exit status. Every failure is one line with its code.
 * @param argv without the interpreter and the script
 */
export async function runCommandLine(program: Command, argv: readonly string[]): Promise<never> {
  writeToFilesWhole();
  endQuietlyOnClosedOutput();
  const said = { ...process.env };
  applyToAll(program, (command) => readSwitches(command, said, process.env));
  program.hook('preAction', (_, command) => {
    running = command;
  });
  process.on('uncaughtException', (thrown) => process.exit(reportFailure(thrown, argv)));
  applyToAll(program, (command) =>
    command
      .exitOverride()
      .configureHelp(HELP_LAYOUT)
      .configureOutput({ outputError: () => {} }),
  );
  let status: number = EXIT.done;
  try {
    await program.parseAsync([...readHelpCommand(program, argv)], { from: 'user' });
  } catch (thrown) {
    status = reportFailure(thrown, argv);
  }
  await Promise.all([flushed(process.stdout), flushed(process.stderr)]);
  process.exit(status);
}

/**
 * Aborted by SIGINT, SIGTERM or SIGHUP (a terminal that was closed), with `ABORTED`; a command that fails with that
 * afterwards has done what it was told, unless it had something to finish.
 */
export function stopSignal({ reload, finishes = false }: StopOptions = {}): AbortSignal {
  hasToFinish = finishes;
  const stop = (signal: string) => stopping.abort(new SallyportError('ABORTED', `stopped by ${signal}`));
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, stop);
  process.on('SIGHUP', (signal) => (reload && !hasLostTerminal() ? reload() : stop(signal)));
  return stopping.signal;
}

interface StopOptions {
  /** What SIGHUP asks for while the terminal is there, of a command that reads its configuration again. */
  readonly reload?: () => void;
  /** Stopped before its end the command has failed: `peer send bob big && rm big`. */
  readonly finishes?: boolean;
}

const stopping = new AbortController();
let hasToFinish = false;
/** The command that runs, once all its options are read, those of a configuration file too. */
let running: Command | undefined;

function reportFailure(thrown: unknown, argv: readonly string[]): number {
  if (thrown instanceof CommanderError) {
    if (thrown.exitCode === 0) return EXIT.done;
    const message = thrown.message
      .replace(/^error: /, '')
      .replace(/\.$/, '')
      .replace('\n', ' ');
    const hint = argv[0]?.startsWith('-') ? 'options go behind the command; see --help' : 'see --help';
    if (message !== '(outputHelp)') reporterFor(argv).error(new SallyportError('USAGE', message, { hint }));
    return EXIT.usage;
  }
  const error = asSallyportError(thrown);
  if (error.code === 'ABORTED' && stopping.signal.aborted && !hasToFinish) return EXIT.done;
  reporterFor(argv).error(error);
  return exitCodeOf(error.code);
}

/** What was written to a pipe may still be on its way. */
async function flushed(stream: NodeJS.WriteStream): Promise<void> {
  if (!stream.writable) return;
  await new Promise<void>((resolve) => {
    stream.write('', () => resolve());
  });
}

/** The options may not have been parsed when something fails; the way of speaking still has to be right. */
function reporterFor(argv: readonly string[]): Reporter {
  if (running) return new Reporter(running.opts<ReporterOptions>());
  const asked = (name: keyof ReporterOptions) =>
    argv.includes(`--${name}`) || (process.env[`SALLYPORT_${name.toUpperCase()}`] ?? '') !== '';
  return new Reporter({ json: asked('json'), verbose: asked('verbose') });
}

/**
 * `peer status | head -1` is no failure, and who destroyed a stream with an error of ours tells of that error. On stderr there
 * is nothing but what is said of the work: a full disk under a server's log ends no server.
 */
function endQuietlyOnClosedOutput(): void {
  process.stderr.on('error', () => undefined);
  process.stdout.on('error', (cause: NodeJS.ErrnoException) => {
    if (cause instanceof SallyportError || cause.code === 'EPIPE') return;
    const code = isDiskFull(cause) ? 'DISK_FULL' : 'STREAM_RESET';
    throw new SallyportError(code, `what was printed could not be written (${cause.code})`, { cause });
  });
}

function applyToAll(command: Command, apply: (command: Command) => void): void {
  apply(command);
  for (const child of command.commands) applyToAll(child, apply);
}
