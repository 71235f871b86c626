#!/usr/bin/env node
import { peerProgram } from '../../peer/command.ts';
import { runCommandLine } from '../cli/run.ts';
import { VERSION } from '../version.ts';

await runCommandLine(peerProgram(VERSION), process.argv.slice(2));
