import type { Command } from 'commander';
import { SallyportError } from '../../src/core/errors.ts';
import { rotateIdentity } from '../../src/net/identity-file.ts';
import { AgentSocket, runningAgents, type AgentStatus } from '../agent-socket.ts';
import { Home } from '../home.ts';
import { reporterOf, withPeerOptions, type SharedOptions } from './shared.ts';

/** `peer rotate`: another key, and with it another id, that others know by the old key's word. */
export function addRotateCommand(program: Command): void {
  withPeerOptions(
    program
      .command('rotate')
      .description('take a new key: peers that allow the old id allow the new one once they have met it'),
  ).action(rotate);
}

async function rotate(options: SharedOptions): Promise<void> {
  const home = new Home(options.home);
  // Two of these at once see one another, and neither replaces what the other one has made.
  const socket = await AgentSocket.listen(home.agentsFolder, () => ROTATING);
  try {
    const others = (await runningAgents(home.agentsFolder)).filter(({ pid }) => pid !== process.pid);
    if (others.length > 0) throw inUse(others);
    const { old, aside, identity } = rotateIdentity(
      home.keyFile,
      (before) => home.retiredKeyFile(before.id),
      Date.now(),
    );
    reporterOf(options).report(
      { id: identity.id, before: old.id, kept: aside },
      `this peer is ${identity.id} now; the old key is kept in ${aside}`,
    );
  } finally {
    await socket.close();
  }
}

/** What it is to `peer status`. */
const ROTATING: AgentStatus = {
  pid: process.pid,
  command: 'rotate',
  id: '',
  rendezvous: '',
  registered: false,
  sessions: [],
  forwards: [],
};

function inUse(agents: readonly { pid: number }[]): SallyportError {
  const processes = agents.map(({ pid }) => pid).join(', ');
  return new SallyportError('USAGE', `the key is in use by process ${processes}`, {
    hint: 'stop what runs with this home (`peer status` shows it), and run `peer rotate` again',
  });
}
