#!/usr/bin/env node
import { peerProgram } from '../../peer/command.ts';
import { tuneOnceUp } from '../cli/once-up.ts';
import { runCommandLine } from '../cli/run.ts';
import { VERSION } from '../version.ts';

tuneOnceUp();
void runCommandLine(peerProgram(VERSION), process.argv.slice(2));
