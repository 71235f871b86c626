import type { Command } from 'commander';

/**
 * The parser takes a switch for on whose variable is there, whatever it holds: `SALLYPORT_INSECURE=0` and an empty one are made to mean
 * no here. No to `--relay` is yes to `--no-relay`. A no that is written out counts as given, as more than a configuration file's yes; what is
 * empty says nothing.
 * @param said the environment as it was; the commands of a program share one
 * @param environment what the parser will look at
 */
export function readSwitches(
  command: Command,
  said: Readonly<NodeJS.ProcessEnv>,
  environment: NodeJS.ProcessEnv,
): void {
  const switches = command.options.filter(
    (created) => !created.required && !created.optional && created.envVar,
  );
  for (const created of switches) {
    const { envVar, long } = created;
    const text = said[envVar!];
    if (text === undefined || !NO.test(text)) continue;
    delete environment[envVar!];
    if (text === '') continue;
    const opposite = switches.find((other) => other.long === long?.replace('--', '--no-'));
    if (opposite) environment[opposite.envVar!] ??= '1';
    else command.setOptionValueWithSource(created.attributeName(), created.negate, 'env');
  }
}

const NO = /^(0|false|no|off|)$/i;
