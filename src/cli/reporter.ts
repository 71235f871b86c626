import { styleText } from 'node:util';
import { asSallyportError } from '../core/errors.ts';
import { printable } from '../core/remote-failure.ts';
import { systemClock } from '../net/clock.ts';

export interface ReporterOptions {
  json?: boolean | undefined;
  quiet?: boolean | undefined;
  verbose?: boolean | undefined;
}

/** What a command says of itself. Fields whose value is `undefined` are left out. */
export type EventFields = Record<string, unknown>;

type Style = 'green' | 'yellow' | 'red' | 'dim' | 'bold' | 'cyan';

/**
 * Tells people (words on stderr) or scripts (one JSON object per line on stderr, with `event` and `ms` since the process started)
 * what happens. stdout is for data and for reports.
 */
export class Reporter {
  readonly json: boolean;
  #verbose = false;
  #quiet = false;
  /** What stands in the line that is redrawn. */
  #live = '';

  constructor({ json = false, ...level }: ReporterOptions = {}) {
    this.json = json;
    this.setLevel(level);
  }

  get verbose(): boolean {
    return this.#verbose;
  }

  /** How much people are told from now on. */
  setLevel({ quiet = false, verbose = false }: Pick<ReporterOptions, 'quiet' | 'verbose'>): void {
    this.#quiet = quiet;
    this.#verbose = verbose;
  }

  /** One thing that happened: `words` for people, `fields` for scripts. Without words people aren't told. */
  event(event: string, fields: EventFields, words?: string): void {
    if (this.json) {
      this.#line(JSON.stringify({ event, ...fields, ms: Math.round(systemClock.now()) }));
    } else if (words !== undefined && !this.#quiet) {
      this.#line(words);
    }
  }

  /** True where a person watches a terminal that can redraw a line; one that calls itself dumb, as in an editor, can't. */
  get isLive(): boolean {
    return !this.json && !this.#quiet && process.stderr.isTTY && process.env['TERM'] !== 'dumb';
  }

  /** Redraws the one line that changes as things go on, below all others; nothing where nobody watches. */
  live(words: string): void {
    if (!this.isLive) return;
    // What wraps into a second line couldn't be taken away.
    this.#live = words.slice(0, (process.stderr.columns || 80) - 1);
    process.stderr.write(`\r\x1b[K${this.#live}`);
  }

  /** Takes that line away. */
  endLive(): void {
    if (this.#live !== '') process.stderr.write('\r\x1b[K');
    this.#live = '';
  }

  /** A command's one report on stdout. */
  report(fields: object, words: string): void {
    process.stdout.write(`${this.json ? JSON.stringify(fields) : words}\n`);
  }

  /** One line and what to do about it; a stack trace only when asked for. Never silenced. */
  error(thrown: unknown): void {
    const error = asSallyportError(thrown);
    const { code, hint } = error;
    const message = printable(shortened(error.message));
    if (this.json) {
      this.event('error', { code, message, hint });
      return;
    }
    this.#line(`${this.paint('red', 'error')} ${code}: ${message}${hint === undefined ? '' : `; ${hint}`}`);
    if (this.verbose && error.stack !== undefined) this.#line(error.stack);
  }

  paint(style: Style, text: string): string {
    return process.stderr.isTTY && !process.env['NO_COLOR'] ? styleText(style, text) : text;
  }

  #line(text: string): void {
    // A closed stderr must not end a command whose data still flows.
    if (!process.stderr.writable) return;
    const [before, after] = this.#live === '' ? ['', ''] : ['\r\x1b[K', this.#live];
    process.stderr.write(`${before}${text}\n${after}`);
  }
}

/** What was typed may be quoted in it, however long. */
function shortened(message: string): string {
  return message.length <= MAX_MESSAGE ? message : `${message.slice(0, MAX_MESSAGE)}…`;
}

const MAX_MESSAGE = 500;
