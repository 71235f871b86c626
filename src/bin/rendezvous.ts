#!/usr/bin/env node
import { attachRelay } from '../../relay/attach.ts';
import { rendezvousCommand } from '../../rendezvous/command.ts';
import { runCommandLine } from '../cli/run.ts';

await runCommandLine(rendezvousCommand(attachRelay), process.argv.slice(2));
