import { readFileSync, statSync } from 'node:fs';
import * as v from 'valibot';
import type { Document, LineCounter } from 'yaml';
import { parseDuration } from '../src/core/duration.ts';
import { SallyportError } from '../src/core/errors.ts';
import { outOfFiles } from '../src/net/out-of-files.ts';
import { PATH_REQUESTS } from '../src/core/punch/situation.ts';
import { checkPrivate } from '../src/net/private-file.ts';

const NO_DURATION = 'expected a duration such as "25s"';

/** As it is written: the options read their units themselves. */
const duration = v.pipe(
  v.string(NO_DURATION),
  v.check((text) => parseDuration(text) !== undefined, NO_DURATION),
);

const text = v.pipe(v.string(), v.minLength(1));
const texts = v.array(text, 'expected a list, such as [a, b]');
const count = v.pipe(v.number(), v.integer());
const paths = v.array(v.picklist(PATH_REQUESTS), 'expected a list, such as [udp, tcp]');

/**
 * What a configuration file may hold: what all commands share, and a section for each command that has options of its own. One whose keys
 * are all commented out says nothing.
 */
const schema = v.strictObject({
  rendezvous: v.optional(text),
  'token-file': v.optional(text),
  json: v.optional(v.boolean()),
  quiet: v.optional(v.boolean()),
  verbose: v.optional(v.boolean()),
  up: v.nullish(
    v.strictObject({
      name: v.optional(text),
      allow: v.optional(texts),
      expose: v.optional(texts),
      'permit-listen': v.optional(texts),
      receive: v.optional(text),
      pipe: v.optional(v.boolean()),
      explain: v.optional(v.boolean()),
    }),
  ),
  connect: v.nullish(v.strictObject({ paths: v.optional(paths), explain: v.optional(v.boolean()) })),
  send: v.nullish(v.strictObject({ paths: v.optional(paths) })),
  receive: v.nullish(
    v.strictObject({
      dir: v.optional(text),
      name: v.optional(text),
      allow: v.optional(texts),
      overwrite: v.optional(v.boolean()),
    }),
  ),
  ping: v.nullish(
    v.strictObject({
      count: v.optional(count),
      interval: v.optional(duration),
      paths: v.optional(paths),
    }),
  ),
  bench: v.nullish(v.strictObject({ seconds: v.optional(count), paths: v.optional(paths) })),
  nat: v.nullish(v.strictObject({ timeout: v.optional(duration) })),
});

type ConfigValue = string | number | boolean | readonly string[];

/** One value of the file, as the option of that name takes it. */
export interface ConfigEntry {
  /** The command whose option it is; `undefined` for all commands. */
  readonly command: string | undefined;
  readonly option: string;
  readonly value: ConfigValue;
  /** Where it is written, for complaints. */
  readonly place: string;
}

/**
 * Reads a configuration file, YAML or JSON; nothing where there is none and none was asked for.
 * @throws SallyportError `CONFIG_INVALID`, naming line and key; `KEY_FILE_MODE` where it holds a join token that others
 * may read
 */
export async function readConfig(path: string, asked: boolean): Promise<ConfigEntry[]> {
  let source: string;
  try {
    source = readFileSync(path, 'utf8');
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (!asked && (code === 'ENOENT' || code === 'ENOTDIR')) return []; // a home that is no folder is told of where it is needed
    const hint = 'check it, or choose another with --config or --home';
    const failure = new SallyportError('CONFIG_INVALID', `can't read ${path} (${code})`, { hint, cause });
    throw outOfFiles(cause) ?? failure;
  }
  const { isPair, parseDocument, LineCounter, visit } = await import('yaml'); // most commands have no file to read
  const lines = new LineCounter();
  const settings = {
    lineCounter: lines,
    prettyErrors: false,
    resolveKnownTags: false,
    logLevel: 'error',
  } as const;
  const document = parseDocument(source, settings);
  // A warning is of a tag or a directive that has no meaning here.
  const [mistake] = [...document.errors, ...document.warnings];
  if (mistake) {
    const why = mistake.code === 'MULTIPLE_DOCS' ? 'a second document begins here' : mistake.message;
    throw new SallyportError('CONFIG_INVALID', `${path}, line ${lines.linePos(mistake.pos[0]).line}: ${why}`);
  }
  // In YAML `*:8080` without quotes refers to what was called `:8080` above.
  visit(document, {
    Alias(_, alias, above) {
      if (alias.resolve(document)) return;
      const line = lines.linePos(alias.range?.[0] ?? 0).line;
      const keys = above.filter((each) => isPair(each)).map(({ key }) => String(key));
      const hint = `write "*${alias.source}", in quotes`;
      throw invalid(`${path}, line ${line}`, keys, `*${alias.source} refers to nothing`, { hint });
    },
  });
  const content = contentOf(document, path) ?? {};
  if (typeof content !== 'object' || Array.isArray(content))
    throw new SallyportError(
      'CONFIG_INVALID',
      `${path}, line 1: the file: expected keys with values`,
      SEE_OPERATIONS,
    );
  const result = v.safeParse(schema, content);
  if (!result.success) throw complaint(path, document, lines, result.issues[0]);
  if (result.output.rendezvous?.includes('token=')) checkPrivate(path, statSync(path));
  const placeOf = (keys: readonly string[]) =>
    `${path}, line ${lineOf(document, lines, keys)}, ${keys.join('.')}`;
  return Object.entries(result.output).flatMap(([key, value]): ConfigEntry[] => {
    if (value === undefined || value === null) return [];
    if (typeof value !== 'object') return [{ command: undefined, option: key, value, place: placeOf([key]) }];
    return Object.entries(value).map(([option, value]) => ({
      command: key,
      option,
      value: value as ConfigValue,
      place: placeOf([key, option]),
    }));
  });
}

/** @throws SallyportError `CONFIG_INVALID` where references to references grow beyond all bounds */
function contentOf(document: Document, path: string): unknown {
  try {
    return document.toJS();
  } catch (cause) {
    throw new SallyportError('CONFIG_INVALID', `${path}: ${(cause as Error).message}`, { cause });
  }
}

function complaint(
  path: string,
  document: Document,
  lines: LineCounter,
  issue: v.BaseIssue<unknown>,
): SallyportError {
  const keys = (issue.path ?? []).map(({ key }) => String(key));
  const unknown = issue.expected === 'never';
  const why = unknown ? 'there is no such key' : issue.message;
  return invalid(`${path}, line ${lineOf(document, lines, keys)}`, keys, why, SEE_OPERATIONS);
}

function invalid(
  where: string,
  keys: readonly string[],
  why: string,
  hint: { hint: string },
): SallyportError {
  return new SallyportError('CONFIG_INVALID', `${where}: ${keys.join('.')}: ${why}`, hint);
}

const SEE_OPERATIONS = { hint: 'see "Configuration file" in docs/operations.md' };

/** The line on which a key is written, or the value where that has no key. */
function lineOf(document: Document, lines: LineCounter, keys: readonly string[]): number {
  let node: unknown = document.contents;
  let offset = 0;
  for (const key of keys) {
    const items = (node as { items?: readonly unknown[] } | null)?.items ?? [];
    const pair = items.find((item) => keyOf(item)?.value === key) as { value?: unknown } | undefined;
    const next = pair ? keyOf(pair) : (items[Number(key)] as Ranged | undefined);
    offset = next?.range?.[0] ?? offset;
    node = pair ? pair.value : next;
  }
  return lines.linePos(offset).line;
}

interface Ranged {
  readonly value?: unknown;
  readonly range?: readonly number[] | null;
}

function keyOf(item: unknown): Ranged | undefined {
  return (item as { key?: Ranged } | null)?.key;
}
