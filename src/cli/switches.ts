import type { Command } from 'commander';

/**
 * The parser takes a switch for on whose variable is there, whatever it holds: `SALLYPORT_INSECURE=0` and an empty one are made to mean
 * no here. No to `--relay` is yes to `--no-relay`.
 */
export function readSwitches(command: Command, environment: NodeJS.ProcessEnv): void {
  const switches = command.options.filter(
    (created) => !created.required && !created.optional && created.envVar,
  );
  for (const { envVar, long } of switches) {
    if (!NO.test(environment[envVar!] ?? 'unset')) continue;
    const opposite = switches.find((other) => other.long === long?.replace('--', '--no-'));
    if (opposite && environment[envVar!] !== '') environment[opposite.envVar!] ??= '1';
    delete environment[envVar!];
  }
}

const NO = /^(0|false|no|off|)$/i;
