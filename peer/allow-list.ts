import { SallyportError } from '../src/core/errors.ts';
import { isPeerId, parsePeerId, type PeerId } from '../src/core/identity.ts';
import { readPrivateFile, writePrivateFile } from '../src/net/private-file.ts';

/** Which services a peer may reach: all that are exposed, or these by name. */
export type Grant = 'all' | ReadonlySet<string>;

/** Who may open a session here, and what it may reach. */
export interface AllowList {
  /** The grant of `id`; `undefined` for a peer that isn't allowed, which learns nothing but that. */
  grantOf(id: PeerId): Grant | undefined;
  /** Denied by name, whatever else may be said. */
  isDenied(id: PeerId): boolean;
}

/** One `--allow` value: `ID`, `any`, or `ID=service,…`; a line of the file may also be `!ID`, which denies. */
export interface AllowRule {
  readonly id: PeerId | 'any';
  readonly grant: Grant | 'none';
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

/** The rules as a list: who is denied stays so, whatever else says; a rule for the id itself comes before `any`. */
export function allowListOf(rules: readonly AllowRule[]): AllowList {
  const denied = new Set<PeerId | 'any'>();
  const grants = new Map<PeerId | 'any', Grant>();
  for (const { id, grant } of rules) {
    if (grant === 'none') denied.add(id);
    else grants.set(id, grant);
  }
  return {
    grantOf: (id) => (denied.has(id) ? undefined : (grants.get(id) ?? grants.get('any'))),
    isDenied: (id) => denied.has(id),
  };
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
        return text.startsWith('!')
          ? { id: parsePeerId(text.slice(1)), grant: 'none' }
          : parseAllowRule(text);
      } catch (cause) {
        throw new SallyportError('CONFIG_INVALID', `${this.path}, line ${number}: not a rule`, {
          hint: 'a line is a peer id, optionally followed by =service,…, or ! and a peer id',
          cause,
        });
      }
    });
  }

  /** True when it was not allowed by this file before. */
  allow(rule: string): boolean {
    const { id } = parseAllowRule(rule);
    return !this.#replace(id, rule).some((line) => !line.startsWith('!'));
  }

  /** Denies `id` whatever else allows it, a running command's `--allow` included. True when it was not denied before. */
  deny(id: PeerId): boolean {
    return !this.#replace(id, `!${id}`).includes(`!${id}`);
  }

  /** Puts `rule` in the place of every line for `id`, and returns those. */
  #replace(id: PeerId | 'any', rule: string): string[] {
    const lines = this.#lines().map(({ text }) => text);
    this.#write([...lines.filter((line) => !names(line, id)), rule]);
    return lines.filter((line) => names(line, id));
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
  const [who = ''] = line.replace(/^!/, '').split('=', 1);
  return who === id && (id === 'any' || isPeerId(who));
}
