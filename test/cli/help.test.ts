import { execFileSync } from 'node:child_process';
import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { peerProgram } from '../../peer/command.ts';
import { attachRelay } from '../../relay/attach.ts';
import { relayCommand } from '../../relay/command.ts';
import { rendezvousCommand } from '../../rendezvous/command.ts';
import { HELP_LAYOUT, readHelpCommand } from '../../src/cli/help.ts';

const peer = peerProgram('0');

function withChildren(command: Command): Command[] {
  return [command, ...command.commands.flatMap(withChildren)];
}

const commands = [peer, rendezvousCommand(attachRelay), relayCommand()].flatMap((each) => withChildren(each));

function widest(text: string): number {
  return Math.max(...text.split('\n').map((line) => line.length));
}

describe('help', () => {
  it.each([60, 80, 200])('fits into a terminal of %i columns, of every command', (width) => {
    for (const command of commands) {
      command.configureHelp(HELP_LAYOUT).configureOutput({ getOutHelpWidth: () => width });
      expect(widest(command.helpInformation())).toBeLessThanOrEqual(width);
    }
  });

  it('is laid out so by the commands themselves', () => {
    const script = ['--import', './scripts/ts.mjs', 'src/bin/peer.ts', 'connect', '--help'];
    const text = execFileSync(process.execPath, script, { encoding: 'utf8' });
    expect(widest(text)).toBeLessThanOrEqual(80);
    expect(text).toContain('listen here, dial there');
    expect(text).not.toContain('default: []');
  });
});

describe('the help command', () => {
  it.each([
    ['help up', 'up --help'],
    ['help config', 'config --help'],
    ['help config check', 'config check --help'],
    ['help connect bob', 'connect --help'],
    ['help', '--help'],
    ['up', 'up'],
    // What has no such command is complained of as without `help`.
    ['help fly', 'fly'],
    ['help config fly', 'config fly'],
  ])('reads `%s` as `%s`', (given, read) => {
    expect(readHelpCommand(peer, given.split(' ')).join(' ')).toBe(read);
  });
});
