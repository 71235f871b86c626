#!/usr/bin/env node
import { attachRelay } from '../../relay/attach.ts';
import { rendezvousCommand } from '../../rendezvous/command.ts';
import { compileAtOnce } from '../cli/compile.ts';
import { collectSeldom } from '../cli/heap.ts';
import { runCommandLine } from '../cli/run.ts';
import { VERSION } from '../version.ts';

compileAtOnce();
collectSeldom();
void runCommandLine(rendezvousCommand(attachRelay).version(VERSION), process.argv.slice(2));
