#!/usr/bin/env node
import { relayCommand } from '../../relay/command.ts';
import { tuneOnceUp } from '../cli/once-up.ts';
import { runCommandLine } from '../cli/run.ts';
import { VERSION } from '../version.ts';

tuneOnceUp();
void runCommandLine(relayCommand().version(VERSION), process.argv.slice(2));
