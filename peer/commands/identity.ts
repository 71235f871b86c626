import { existsSync } from 'node:fs';
import { Option, type Command } from 'commander';
import { AllowFile, parseAllowRule, parseDenied } from '../allow-list.ts';
import { Home } from '../home.ts';
import { oneself } from '../names.ts';
import { copyIdentity } from '../../src/net/identity-file.ts';
import { looksLikeInvite } from '../../src/core/invite.ts';
import { printable } from '../../src/core/remote-failure.ts';
import { joinByInvite, servicesOption, type InviteCommandOptions } from './invite.ts';
import { joinByUrl } from './join.ts';
import { reporterOf, withPeerOptions, type SharedOptions } from './shared.ts';

/** `peer id`, `join`, `allow`, `deny`: who this peer is, where it registers, whom it trusts. */
export function addIdentityCommands(program: Command): void {
  withPeerOptions(program.command('id').description("print this peer's id (made on first use)"))
    .addOption(new Option('--export <file>', 'copy the private key into a file: whoever has it is this peer'))
    .addOption(
      new Option('--import <file>', 'take the key from such a file, where none is yet').conflicts('export'),
    )
    .action((options: IdOptions) => {
      const home = new Home(options.home);
      if (options.import !== undefined) copyIdentity(options.import, home.keyFile);
      const { id } = home.identity();
      const reporter = reporterOf(options);
      if (options.export !== undefined) {
        copyIdentity(home.keyFile, options.export);
        const words = `${printable(options.export)} holds the private key: whoever has it is this peer`;
        reporter.event('exported', { file: options.export }, words);
      }
      reporter.report({ id }, id);
    });

  withPeerOptions(
    program
      .command('join')
      .argument('<url>', 'the join URL that `rendezvous start` prints, or what `peer invite` printed')
      .description('remember a rendezvous (the URL may carry its token as the fragment); accept an invite'),
  )
    .addOption(servicesOption('with an invite: what the inviter may reach here'))
    .action((url: string, options: InviteCommandOptions) =>
      looksLikeInvite(url) ? joinByInvite(url, options) : joinByUrl(url, options),
    );

  withPeerOptions(
    program
      .command('allow')
      .argument('<id>', 'a peer id or "any", optionally with =service,…')
      .description('let a peer open sessions here'),
  ).action((rule: string, options: SharedOptions) => {
    const home = new Home(options.home);
    const { id } = parseAllowRule(rule);
    if (existsSync(home.keyFile) && home.identity().id === id) throw oneself();
    const fresh = new AllowFile(home.allowFile).allow(rule);
    reporterOf(options).report(
      { allowed: rule, changed: fresh },
      `${rule} ${fresh ? 'is allowed' : 'was allowed; updated'}`,
    );
  });

  withPeerOptions(
    program
      .command('deny')
      .argument('<id>', 'a peer id; "any" takes back `peer allow any`')
      .description('no longer let a peer open sessions here; ends its live ones'),
  ).action((text: string, options: SharedOptions) => {
    const id = parseDenied(text);
    const changed = new AllowFile(new Home(options.home).allowFile).deny(id);
    reporterOf(options).report(
      { denied: id, changed },
      id === 'any' ? ANY_DENIED : changed ? `${id} is denied` : `${id} was denied before`,
    );
  });
}

interface IdOptions extends SharedOptions {
  export?: string;
  import?: string;
}

const ANY_DENIED = 'the list allows only peers that it names';
