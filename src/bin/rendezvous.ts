#!/usr/bin/env node
import { attachRelay } from '../../relay/attach.ts';
import { rendezvousCommand } from '../../rendezvous/command.ts';
import { tuneOnceUp } from '../cli/once-up.ts';
import { runCommandLine } from '../cli/run.ts';
import { VERSION } from '../version.ts';

tuneOnceUp();
void runCommandLine(rendezvousCommand(attachRelay).version(VERSION), process.argv.slice(2));
