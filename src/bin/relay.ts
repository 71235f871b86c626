#!/usr/bin/env node
import { relayCommand } from '../../relay/command.ts';
import { runCommandLine } from '../cli/run.ts';
import { VERSION } from '../version.ts';

await runCommandLine(relayCommand().version(VERSION), process.argv.slice(2));
