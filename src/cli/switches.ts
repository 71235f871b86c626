import type { Command } from 'commander';

/**
 * The parser takes a switch for on whose variable is there, whatever it holds: `SALLYPORT_INSECURE=0` is made to mean no here. No to
 * `--relay` is yes to `--no-relay`; it counts as given, as more than a configuration file's yes. A variable that is empty says nothing, be it
 * a switch's or another's: that is what a variable of a unit or a container is that nobody has set.
 * @param said the environment as it was; the commands of a program share one
 * @param environment what the parser will look at
 */
export function readSwitches(
  command: Command,
  said: Readonly<NodeJS.ProcessEnv>,
  environment: NodeJS.ProcessEnv,
): void {
  const withVariable = command.options.filter((created) => created.envVar);
  for (const { envVar } of withVariable) if (said[envVar!] === '') delete environment[envVar!];
  const switches = withVariable.filter((created) => !created.required && !created.optional);
  for (const created of switches) {
    const { envVar, long } = created;
    const text = said[envVar!];
    if (text === undefined || !NO.test(text)) continue;
    delete environment[envVar!];
    const opposite = switches.find((other) => other.long === long?.replace('--', '--no-'));
    if (opposite) environment[opposite.envVar!] ??= '1';
    else command.setOptionValueWithSource(created.attributeName(), created.negate, 'env');
  }
}

const NO = /^(0|false|no|off)$/i;
