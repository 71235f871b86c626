import { Command } from 'commander';
import { addBenchCommand } from './commands/bench.ts';
import { addConfigCommand, applyConfig } from './commands/config.ts';
import { addConnectCommand } from './commands/connect.ts';
import { addIdentityCommands } from './commands/identity.ts';
import { addInviteCommand } from './commands/invite.ts';
import { addListCommand } from './commands/list.ts';
import { addNatCommand } from './commands/nat.ts';
import { addPingCommand } from './commands/ping.ts';
import { addPlanCommand } from './commands/plan.ts';
import { addReceiveCommand } from './commands/receive.ts';
import { addRotateCommand } from './commands/rotate.ts';
import { addSendCommand } from './commands/send.ts';
import { addServiceCommand } from './commands/service.ts';
import { addStatusCommand } from './commands/status.ts';
import { addUpCommand } from './commands/up.ts';

/** The `peer` command line. */
export function peerProgram(version: string): Command {
  const program = new Command('peer')
    .description(
      'connect two computers behind NATs: direct where their NATs allow it, relayed from the first moment',
    )
    .version(version);
  addIdentityCommands(program);
  addRotateCommand(program);
  addInviteCommand(program);
  addUpCommand(program);
  addConnectCommand(program);
  addPingCommand(program);
  addBenchCommand(program);
  addPlanCommand(program);
  addNatCommand(program);
  addSendCommand(program);
  addReceiveCommand(program);
  addListCommand(program);
  addStatusCommand(program);
  addConfigCommand(program);
  addServiceCommand(program);
  applyConfig(program);
  return program;
}
