import type { Command } from 'commander';
import { folded } from '../../src/cli/fold.ts';
import type { Reporter } from '../../src/cli/reporter.ts';
import { asSallyportError } from '../../src/core/errors.ts';
import { AgentSocket, runningAgents, type AgentStatus, type SilentAgent } from '../agent-socket.ts';
import { Home } from '../home.ts';
import type { Verdict } from '../../src/core/punch/verdict.ts';
import type { Peer } from '../peer.ts';
import type { TraceEntry } from '../session.ts';
import { forwardWords, type ForwardReport } from '../services/forwards.ts';
import { counted, reporterOf, shortId, withPeerOptions, type SharedOptions } from './shared.ts';

interface SessionStatus {
  readonly peer: string;
  readonly session: string;
  readonly streams: number;
  readonly relayedBecause: Verdict | undefined;
  readonly trace: readonly TraceEntry[];
  readonly paths: readonly {
    kind: string;
    state: string;
    remote?: string | undefined;
    technique?: string | undefined;
    rttMs?: number | undefined;
  }[];
}

/** The newest ones of each session. */
const TRACE_LINES = 20;

/** `peer status`: what runs on this machine with this home. */
export function addStatusCommand(program: Command): void {
  withPeerOptions(program.command('status').description('running agents, their sessions and paths')).action(
    async (options: SharedOptions) => {
      const home = new Home(options.home);
      const agents = await runningAgents(home.agentsFolder);
      const id = home.identity().id;
      reporterOf(options).report({ id, agents }, folded(words(id, agents)));
    },
  );
}

/**
 * Lets `peer status` ask about a command that runs. A home folder that can't be written, being read-only or on a full disk, keeps no command
 * from its work: what runs there can't be asked then.
 */
export async function answerStatus(
  peer: Peer,
  command: string,
  forwards: () => readonly ForwardReport[],
  reporter: Reporter,
): Promise<AgentSocket | undefined> {
  try {
    return await AgentSocket.listen(peer.home.agentsFolder, () => statusOf(peer, command, forwards()));
  } catch (thrown) {
    const { code, message } = asSallyportError(thrown);
    if (code === 'USAGE') throw thrown;
    reporter.event('no-status', { code, message }, `\`peer status\` can't ask this command: ${message}`);
    return undefined;
  }
}

function statusOf(peer: Peer, command: string, forwards: readonly ForwardReport[]): AgentStatus {
  return {
    pid: process.pid,
    command,
    id: peer.id,
    rendezvous: peer.rendezvous,
    registered: peer.registered,
    forwards,
    sessions: peer.sessions.map((session): SessionStatus => ({
      peer: session.peer,
      session: session.id,
      streams: session.driver.stats.streams,
      relayedBecause: session.relayedBecause,
      trace: session.trace.slice(-TRACE_LINES),
      paths: session.paths,
    })),
  };
}

function words(id: string, agents: readonly (AgentStatus | SilentAgent)[]): string {
  const lines = agents.flatMap((agent) =>
    'command' in agent ? agentWords(agent) : [`process ${agent.pid} does not answer`],
  );
  if (agents.length === 0) lines.push('no agent is running with this home');
  return [`this peer is ${id}`, ...lines].join('\n');
}

function agentWords({ pid, command, rendezvous, registered, sessions, forwards }: AgentStatus): string[] {
  return [
    `peer ${command} (process ${pid}), ${registered ? 'registered' : 'not registered'} at ${rendezvous}`,
    ...(forwards as readonly ForwardReport[]).map((forward) => `  ${forwardWords(forward)}`),
    ...(sessions as readonly SessionStatus[]).flatMap(sessionWords),
  ];
}

function sessionWords({ peer, streams, paths, relayedBecause }: SessionStatus): string[] {
  const head = `  session with ${shortId(peer)}, ${counted(streams, 'stream')}`;
  const each = paths.map(({ kind, state, remote, technique, rttMs }) => {
    const trip = rttMs === undefined ? '' : `, ${rttMs} ms`;
    const way = kind.startsWith('relay') || technique === undefined ? '' : ` by ${technique}`;
    return `    ${kind} ${state}${remote === undefined ? '' : ` to ${remote}`}${way}${trip}`;
  });
  const direct = paths.some(({ kind }) => kind === 'udp' || kind === 'tcp');
  return [
    head,
    ...each,
    ...(direct || relayedBecause === undefined
      ? []
      : [`    relayed (${relayedBecause.code}): ${relayedBecause.text}`]),
  ];
}
