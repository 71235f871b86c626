#!/usr/bin/env node
import { peerProgram } from '../../peer/command.ts';
import { collectSeldom } from '../cli/heap.ts';
import { runCommandLine } from '../cli/run.ts';
import { VERSION } from '../version.ts';

collectSeldom();
void runCommandLine(peerProgram(VERSION), process.argv.slice(2));
