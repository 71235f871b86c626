import { join } from 'node:path';
import type { Command, Option } from 'commander';
import { SallyportError } from '../../src/core/errors.ts';
import { readConfig, type ConfigEntry } from '../config.ts';
import { Home } from '../home.ts';
import { SettingsFile } from '../settings.ts';
import { reporterOf, withPeerOptions, type SharedOptions } from './shared.ts';

/** One setting as it is in force. */
interface Setting {
  readonly command: string;
  readonly option: string;
  readonly value: unknown;
  readonly from: string;
}

/** `peer config check`: what is in force, and where each value comes from. */
export function addConfigCommand(program: Command): void {
  const config = program.command('config').description('the configuration file');
  withPeerOptions(
    config.command('check').description('print what is in force, and where each value comes from'),
  ).action(async (options: SharedOptions, command: Command) => {
    const entries = await entriesFor(options);
    for (const { command: name, ...entry } of entries) {
      const owner = program.commands.find((each) => each.name() === name);
      if (owner) parsed(optionOf(owner, entry.option), entry);
    }
    const settings = settingsOf(command, entries);
    if (!settings.some(({ option }) => option === 'rendezvous')) settings.push(...joined(options));
    const words = settings.map(
      ({ command, option, value, from }) =>
        `${`${command} ${option}`.trim()}: ${JSON.stringify(value)}  (${from})`,
    );
    reporterOf(options).report({ settings }, words.join('\n') || 'nothing is set but what is built in');
  });
}

/** What `peer join` remembered counts where nothing else names a rendezvous. @throws SallyportError `CONFIG_INVALID` */
function joined({ home }: SharedOptions): Setting[] {
  const file = new Home(home).settingsFile;
  const { rendezvous } = new SettingsFile(file);
  return rendezvous
    ? [{ command: '', option: 'rendezvous', value: rendezvous.url, from: `peer join, in ${file}` }]
    : [];
}

/** Gives each command what the file says and neither a flag nor the environment does. */
export function applyConfig(program: Command): void {
  program.hook('preAction', (_, command) => configure(command));
}

/** Reads the file again, for a command that runs. @throws SallyportError `CONFIG_INVALID`, and nothing has changed */
export async function configure(command: Command): Promise<void> {
  const own = ({ command: name }: ConfigEntry) => name === undefined || name === command.name();
  const values = (await entriesFor(command.opts<SharedOptions>())).filter(own).flatMap((entry) => {
    const option = optionOf(command, entry.option);
    return option ? [{ option, value: parsed(option, entry) }] : [];
  });
  for (const option of command.options) {
    if (command.getOptionValueSource(option.attributeName()) !== 'config') continue;
    command.setOptionValueWithSource(option.attributeName(), option.defaultValue, 'default');
  }
  for (const { option, value } of values) {
    const source = command.getOptionValueSource(option.attributeName());
    if (source === 'cli' || source === 'env') continue;
    command.setOptionValueWithSource(option.attributeName(), value, 'config');
  }
}

async function entriesFor({ config, home }: SharedOptions): Promise<ConfigEntry[]> {
  return readConfig(config ?? join(new Home(home).folder, 'config.yaml'), config !== undefined);
}

function optionOf(command: Command, name: string): Option | undefined {
  return command.options.find((option) => option.name() === name);
}

/** A value of the file as the flag would have been read. @throws SallyportError `CONFIG_INVALID` */
function parsed(option: Option | undefined, { value, place }: Omit<ConfigEntry, 'command'>): unknown {
  const parse = option?.parseArg as ((text: string, before: unknown) => unknown) | undefined;
  if (!parse || typeof value === 'boolean') return value;
  try {
    if (typeof value !== 'object') return parse(String(value), undefined);
    // A list is either a flag that may be repeated, or one flag with commas.
    if (!Array.isArray(option!.defaultValue)) return parse(value.join(','), undefined);
    return value.reduce<unknown>((before, text) => parse(text, before), []);
  } catch (cause) {
    throw new SallyportError('CONFIG_INVALID', `${place}: ${(cause as Error).message}`, { cause });
  }
}

function settingsOf(command: Command, entries: readonly ConfigEntry[]): Setting[] {
  const shared = command.options.flatMap((option): Setting[] => {
    const name = option.attributeName();
    const source = command.getOptionValueSource(name);
    const file = entries.find((entry) => entry.command === undefined && entry.option === option.name());
    const sources: Record<string, string | undefined> = {
      cli: 'flag',
      env: option.envVar,
      config: file?.place,
    };
    const from = sources[source ?? ''];
    return from === undefined
      ? []
      : [{ command: '', option: option.name(), value: command.getOptionValue(name) as unknown, from }];
  });
  const sections = entries.flatMap(({ command, option, value, place }) =>
    command === undefined ? [] : [{ command, option, value, from: place }],
  );
  return [...shared, ...sections];
}
