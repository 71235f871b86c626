import type { Command } from 'commander';
import { realpathSync } from 'node:fs';
import { resolve } from 'node:path';
import { Home } from '../home.ts';
import { withPeerOptions, type SharedOptions } from './shared.ts';

/** `peer service`: a unit for systemd that keeps `peer up` running. */
export function addServiceCommand(program: Command): void {
  withPeerOptions(
    program.command('service').description('print a systemd unit that keeps `peer up` running as this user'),
  ).action((options: SharedOptions, given: Command) => {
    const command = [
      process.execPath,
      realpathSync(process.argv[1]!),
      'up',
      '--home',
      resolve(new Home(options.home).folder), // systemd starts it in another folder than this
    ];
    if (options.config !== undefined) command.push('--config', resolve(options.config));
    // What the configuration file says stays there.
    const isGiven = (name: keyof SharedOptions) =>
      !['default', 'config', undefined].includes(given.getOptionValueSource(name));
    if (isGiven('rendezvous')) command.push('--rendezvous', options.rendezvous!);
    if (isGiven('tokenFile')) command.push('--token-file', resolve(options.tokenFile!));
    if (options.portMapping === false) command.push('--no-port-mapping');
    process.stdout.write(unit(command.map(quoted).join(' ')));
  });
}

function unit(command: string): string {
  return `# ~/.config/systemd/user/sallyport.service
# systemctl --user enable --now sallyport; loginctl enable-linger
[Unit]
Description=Sallyport peer
After=network-online.target
Wants=network-online.target

[Service]
ExecStart=${command}
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=5
RestartPreventExitStatus=2 3
NoNewPrivileges=yes

[Install]
WantedBy=default.target
`;
}

/** As systemd.service(5) reads words: % and $ would be expanded. */
function quoted(word: string): string {
  const escaped = word.replaceAll(/["\\]/g, '\\$&').replaceAll('%', '%%').replaceAll('$', '$$$$');
  return /[\s"'\\;]/.test(word) ? `"${escaped}"` : escaped;
}
