#!/usr/bin/env node
import { relayCommand } from '../../relay/command.ts';
import { compileAtOnce } from '../cli/compile.ts';
import { collectSeldom } from '../cli/heap.ts';
import { runCommandLine } from '../cli/run.ts';
import { VERSION } from '../version.ts';

compileAtOnce();
collectSeldom();
void runCommandLine(relayCommand().version(VERSION), process.argv.slice(2));
