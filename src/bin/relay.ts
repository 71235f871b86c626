#!/usr/bin/env node
import { relayCommand } from '../../relay/command.ts';
import { runCommandLine } from '../cli/run.ts';

await runCommandLine(relayCommand(), process.argv.slice(2));
