import { SallyportError } from '../src/core/errors.ts';
import { parsePeerId, type PeerId } from '../src/core/identity.ts';
import { appendPrivateLine, readPrivateFile } from '../src/net/private-file.ts';

/** Told to a peer that was allowed and isn't any more. */
export const DENIED = 'this peer is no longer allowed';

/** Which services a peer may reach: all that are exposed, or these by name. */
export type Grant = 'all' | ReadonlySet<string>;

/** Who may open a session here, and what it may reach. */
export interface AllowList {
  /** The grant of `id`; `undefined` for a peer that isn't allowed, which learns nothing but that. */
  grantOf(id: PeerId): Grant | undefined;
  /** Denied by name, whatever else may be said. */
  isDenied(id: PeerId): boolean;
}

/**
 * One `--allow` value: `ID`, `any`, or `ID=service,…`; a line of the file may also be `!ID`, which denies, or `!any`, which takes
 * the file's `any` back.
 */
export interface AllowRule {
  readonly id: PeerId | 'any';
  readonly grant: Grant | 'none';
}

/** @throws SallyportError `USAGE` */
export function parseAllowRule(text: string): AllowRule {
  const [who = '', ...services] = text.split('=');
  const id = who === 'any' ? 'any' : parsePeerId(who);
  if (services.length === 0) return { id, grant: 'all' };
  const names = services.join('=').split(','); // a socket's path may have a = of its own
  if (names.some((name) => name.trim() === ''))
    throw new SallyportError('USAGE', `a service without a name in ${JSON.stringify(text)}`);
  // In a file the rule would end there, and the next line might allow anybody.
  if (/[#\p{Cc}]/u.test(text))
    throw new SallyportError('USAGE', `a # or a control character in ${JSON.stringify(text)}`);
  return { id, grant: new Set(names.map((name) => name.trim())) };
}

/** Whom a rule that denies names. @throws SallyportError `USAGE` */
export function parseDenied(text: string): PeerId | 'any' {
  return text === 'any' ? 'any' : parsePeerId(text);
}

/** The rule that allows `id` these services, or all where none is named. @throws SallyportError `USAGE` */
export function allowRuleText(id: PeerId, services: readonly string[]): string {
  const text = services.length > 0 ? `${id}=${services.join(',')}` : id;
  parseAllowRule(text);
  return text;
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

/**
 * The allow list kept in a file, one rule a line, of which the last one for an id counts. `peer allow`, `peer deny` and
 * invites add lines, so that none of them can lose what another one writes at the same time, or what people noted there.
 */
export class AllowFile {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  /** One for each id. @throws SallyportError `CONFIG_INVALID`, naming the line */
  rules(): AllowRule[] {
    const rules = new Map<PeerId | 'any', AllowRule>();
    for (const [index, text] of (readPrivateFile(this.path) ?? '').split('\n').entries()) {
      const line = text.replace(/#.*/, '').trim();
      if (line === '') continue;
      const rule = this.#parse(line, index + 1);
      rules.set(rule.id, rule);
    }
    return [...rules.values()];
  }

  /** True when it was not allowed by this file before. */
  allow(text: string): boolean {
    const rule = parseAllowRule(text);
    const before = this.ruleFor(rule.id);
    if (!before || !sameGrant(before.grant, rule.grant)) appendPrivateLine(this.path, text);
    return before === undefined || before.grant === 'none';
  }

  /**
   * Denies `id` whatever else allows it, a running command's `--allow` included; `any` takes back what `allow` said of it, no more. True when
   * it was not denied before.
   */
  deny(id: PeerId | 'any'): boolean {
    if (this.ruleFor(id)?.grant === 'none') return false;
    appendPrivateLine(this.path, `!${id}`);
    return true;
  }

  /**
   * What `from` was allowed goes to `to`, and `from` is denied from now on: one write, so that never both are allowed, nor neither.
   * False where the file doesn't allow `from` now, or says something of `to` already.
   */
  succeed(from: PeerId, to: PeerId): boolean {
    const grant = this.ruleFor(from)?.grant;
    if (grant === undefined || grant === 'none' || this.ruleFor(to)) return false;
    const rule = allowRuleText(to, grant === 'all' ? [] : [...grant]);
    appendPrivateLine(this.path, `${rule}\n!${from} # now ${to}`);
    return true;
  }

  ruleFor(id: PeerId | 'any'): AllowRule | undefined {
    return this.rules().find((rule) => rule.id === id);
  }

  #parse(line: string, number: number): AllowRule {
    try {
      return line.startsWith('!') ? { id: parseDenied(line.slice(1)), grant: 'none' } : parseAllowRule(line);
    } catch (cause) {
      throw new SallyportError('CONFIG_INVALID', `${this.path}, line ${number}: not a rule`, {
        hint: 'a line is a peer id, optionally followed by =service,…, or ! and a peer id',
        cause,
      });
    }
  }
}

function sameGrant(a: AllowRule['grant'], b: AllowRule['grant']): boolean {
  if (typeof a === 'string' || typeof b === 'string') return a === b;
  return a.size === b.size && [...a].every((name) => b.has(name));
}
