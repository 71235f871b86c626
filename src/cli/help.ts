import { Help, type Command, type HelpConfiguration } from 'commander';

/** Of what stands on the left; a longer option has a line of its own, so that the others' words have room in a narrow terminal. */
const MAX_LABEL = 28;
const MIN_WORDS = 20;
const INDENT = 2;
const GAP = 2;

const plain = new Help();

/** How every command's help is laid out: no line is longer than the terminal is wide. */
export const HELP_LAYOUT: HelpConfiguration = {
  minWidthToWrap: MIN_WORDS,
  padWidth: (command, helper) => Math.min(plain.padWidth(command, helper), MAX_LABEL),
  formatItem(label, labelWidth, words, helper) {
    if (words === '') return ' '.repeat(INDENT) + label;
    const start = INDENT + labelWidth + GAP;
    const wrapped = helper.boxWrap(words, Math.max((helper.helpWidth ?? 80) - start, MIN_WORDS));
    const [first = '', ...rest] = wrapped.split('\n').map((line) => ' '.repeat(start) + line);
    const head = ' '.repeat(INDENT) + label;
    const beside = label.length <= labelWidth;
    return [beside ? head.padEnd(start) + first.slice(start) : `${head}\n${first}`, ...rest].join('\n');
  },
  // Of an option that may be repeated it says nothing.
  optionDescription: (option) => plain.optionDescription(option).replace(' (default: [])', ''),
};

/**
 * `help config check` is `config check --help`. Of a name that no command has, what is left is the same mistake without `help`, which
 * is told of as ever.
 */
export function readHelpCommand(program: Command, argv: readonly string[]): readonly string[] {
  if (argv[0] !== 'help') return argv;
  const path: string[] = [];
  let command = program;
  for (const name of argv.slice(1)) {
    const found = command.commands.find((each) => each.name() === name);
    if (!found && command.commands.length > 0) return [...path, name];
    if (!found) break;
    command = found;
    path.push(name);
  }
  return [...path, '--help'];
}
