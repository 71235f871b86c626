import { SallyportError } from '../src/core/errors.ts';
import { isPeerId, parsePeerId, type PeerId } from '../src/core/identity.ts';
import { readPrivateFile, writePrivateFile } from '../src/net/private-file.ts';

/** Which services a peer may reach: all that are exposed, or these by name. */
export type Grant = 'all' | ReadonlySet<string>;

/** Who may open a session here, and what it may reach. */
export interface AllowList {
  /** The grant of `id`; `undefined` for a peer that isn't allowed, which learns nothing but that. */
  grantOf(id: PeerId): Grant | undefined;
}

/** One `--allow` value: `ID`, `any`, or `ID=service,…`. */
export interface AllowRule {
  readonly id: PeerId | 'any';
  readonly grant: Grant;
}

/** @throws SallyportError `USAGE` */
export function parseAllowRule(text: string): AllowRule {
  const [who = '', services] = text.split('=', 2);
  const id = who === 'any' ? 'any' : parsePeerId(who);
  if (services === undefined) return { id, grant: 'all' };
  const names = services.split(',').filter((name) => name !== '');
  if (names.length === 0)
    throw new SallyportError('USAGE', `no service after the = in ${JSON.stringify(text)}`);
  return { id, grant: new Set(names) };
}

/** The rules as a list; a rule for the id itself comes before `any`. */
export function allowListOf(rules: readonly AllowRule[]): AllowList {
  const grants = new Map(rules.map(({ id, grant }) => [id, grant]));
  return { grantOf: (id) => grants.get(id) ?? grants.get('any') };
}

/** The allow list kept in a file, one rule a line; `peer allow` and `peer deny` edit it. */
export class AllowFile {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  /** @throws SallyportError `CONFIG_INVALID`, naming the line */
  rules(): AllowRule[] {
    return this.#lines().map(({ text, number }) => {
      try {
        return parseAllowRule(text);
      } catch (cause) {
        throw new SallyportError('CONFIG_INVALID', `${this.path}, line ${number}: not a rule`, {
          hint: 'a line is a peer id, optionally followed by =service,…',
          cause,
        });
      }
    });
  }

  /** True when it was not there before. */
  allow(rule: string): boolean {
    const { id } = parseAllowRule(rule);
    const lines = this.#lines().map(({ text }) => text);
    const kept = lines.filter((line) => !names(line, id));
    this.#write([...kept, rule]);
    return kept.length === lines.length;
  }

  /** True when it was there. */
  deny(id: PeerId): boolean {
    const lines = this.#lines().map(({ text }) => text);
    const kept = lines.filter((line) => !names(line, id));
    if (kept.length !== lines.length) this.#write(kept);
    return kept.length !== lines.length;
  }

  #lines(): { text: string; number: number }[] {
    const text = readPrivateFile(this.path) ?? '';
    return text
      .split('\n')
      .map((line, index) => ({ text: line.replace(/#.*/, '').trim(), number: index + 1 }))
      .filter((line) => line.text !== '');
  }

  #write(lines: string[]): void {
    writePrivateFile(this.path, lines.map((line) => `${line}\n`).join(''));
  }
}

function names(line: string, id: PeerId | 'any'): boolean {
  const [who = ''] = line.split('=', 1);
  return who === id && (id === 'any' || isPeerId(who));
}
