import { setTimeout as sleep } from 'node:timers/promises';
import type { CommandEvent } from '../../e2e/commands.ts';
import { LIMITS } from '../../../src/core/limits.ts';
import { longestStall, type LiveTransfer } from '../exchange.ts';
import type { TrafficGroup } from '../lab.ts';
import type { ScenarioOptions } from '../scenario.ts';
import { transferring, underWay, type SurvivalOptions, type SurvivalReport } from './stage.ts';

/** What happens to a transfer both ways, and what the scenario needs for it. */
interface Fault {
  readonly scenario?: Partial<ScenarioOptions>;
  /** The class of path that the bytes go by when it happens. */
  readonly on: 'direct' | 'relay';
  /** Resolves when it is over. @returns milliseconds for which nothing could have arrived, whoever is to blame */
  readonly strike: (transfer: LiveTransfer, seconds: number) => Promise<number | void>;
}

export type FaultName =
  | 'relay killed'
  | 'relay lost, there is another'
  | 'rendezvous killed'
  | 'rendezvous killed, which relays'
  | 'NAT rebinding'
  | 'public address change'
  | 'direct path cut and restored'
  | 'everything dropped'
  | 'long packets dropped'
  | 'all paths lost for longer than tickets live'
  | 'peer stopped';

const FAULTS: Readonly<Record<FaultName, Fault>> = {
  'relay killed': {
    scenario: { relay: 'separate', paths: 'relay' },
    on: 'relay',
    async strike({ scenario }) {
      await scenario.relays[0]!.stop('SIGKILL');
      await scenario.startRelay();
    },
  },
  'relay lost, there is another': {
    scenario: { relay: 'pair', paths: 'relay' },
    on: 'relay',
    async strike(transfer) {
      const lost = transfer.active[0]?.['remote'];
      const isThat = ({ event, url }: CommandEvent) => event === 'listening' && url === lost;
      const relay = transfer.scenario.relays.find(({ events }) => events.some(isThat));
      await relay!.stop('SIGKILL');
      const moved = () => transfer.active.every((path) => path?.['remote'] !== lost);
      await transfer.until(moved, 60_000, 'a path by the other relay');
    },
  },
  'rendezvous killed': {
    scenario: { relay: 'separate' },
    on: 'direct',
    strike: restartRendezvous,
  },
  'rendezvous killed, which relays': {
    scenario: { paths: 'relay' },
    on: 'relay',
    strike: restartRendezvous,
  },
  'NAT rebinding': {
    on: 'direct',
    strike: ({ scenario }) => scenario.lab.forgetMappings('a'),
  },
  'public address change': {
    on: 'direct',
    async strike({ scenario }) {
      await scenario.lab.changePublicAddress('a');
    },
  },
  'direct path cut and restored': {
    on: 'direct',
    async strike(transfer) {
      const { lab } = transfer.scenario;
      await lab.cut('direct');
      await transfer.until(() => transfer.isDirect(false), 60_000, 'the relay');
      await lab.restore('direct');
      await transfer.until(() => transfer.isDirect(true), 60_000, 'a direct path again');
    },
  },
  'everything dropped': {
    scenario: { relay: 'separate' },
    on: 'direct',
    async strike({ scenario: { lab } }, seconds) {
      for (const group of EVERYTHING) await lab.cut(group);
      const began = performance.now();
      await sleep(seconds * 1000);
      for (const group of EVERYTHING) await lab.restore(group);
      return performance.now() - began;
    },
  },
  // TCP has no way round: unless told to, the kernel doesn't try shorter packets.
  'long packets dropped': {
    scenario: { relay: 'separate', paths: 'udp,relay' },
    on: 'direct',
    async strike(transfer) {
      const before = transfer.told.map((events) => events.length);
      await transfer.scenario.lab.dropLongPackets(1_280, ...EVERYTHING);
      const isAnew = ({ event, state, direct }: CommandEvent) =>
        event === 'path' && state === 'up' && direct === true;
      const areAnew = () => transfer.told.every((events, end) => events.slice(before[end]).some(isAnew));
      await transfer.until(areAnew, 60_000, 'a direct path that sends shorter packets');
    },
  },
  'all paths lost for longer than tickets live': {
    scenario: { relay: 'separate' },
    on: 'direct',
    async strike({ scenario }) {
      // No ticket is renewed from here on.
      await scenario.rendezvous.stop('SIGKILL');
      await sleep(LIMITS.ticketLifetimeMs - LOST_MS / 2);
      const began = performance.now();
      await scenario.lab.cut('direct');
      await scenario.relays[0]!.stop('SIGKILL');
      await sleep(LOST_MS);
      scenario.rendezvous = scenario.startRendezvous();
      await scenario.rendezvous.event('listening');
      await scenario.startRelay();
      await scenario.lab.restore('direct');
      return performance.now() - began;
    },
  },
  'peer stopped': {
    on: 'direct',
    async strike({ scenario: { up } }, seconds) {
      up.child.kill('SIGSTOP');
      const began = performance.now();
      await sleep(seconds * 1000);
      up.child.kill('SIGCONT');
      return performance.now() - began;
    },
  },
};

const EVERYTHING: readonly TrafficGroup[] = ['direct', 'relay', 'rendezvous'];

/** Less than a session without a path lives. */
const LOST_MS = 70_000;
/** How long the rendezvous is away. */
const DOWN_MS = 1_000;

async function restartRendezvous(transfer: LiveTransfer): Promise<void> {
  const { scenario, told } = transfer;
  await scenario.rendezvous.stop('SIGKILL');
  const before = told.map((events) => events.length);
  await sleep(DOWN_MS);
  scenario.rendezvous = scenario.startRendezvous();
  await scenario.rendezvous.event('listening');
  const isBack = (events: readonly CommandEvent[], end: number) =>
    events.slice(before[end]).some(({ event }) => event === 'registered');
  await transfer.until(() => told.every(isBack), 60_000, 'both peers to be registered again');
}

/** A transfer both ways through which something happens; rejects where it does not come to its end. */
export async function survive(
  name: FaultName,
  { bytes, seconds = 10 }: SurvivalOptions,
): Promise<SurvivalReport> {
  const { scenario, on, strike } = FAULTS[name];
  return transferring({ ...scenario }, bytes, async (transfer) => {
    await underWay(transfer, on);
    const at = Date.now();
    const blamelessMs = (await transfer.during(() => strike(transfer, seconds))) ?? 0;
    const finished = await transfer.finish();
    const stallMs = Math.max(0, Math.round(longestStall(finished, at) - blamelessMs));
    return { equal: finished.equal, stallMs, seconds: finished.seconds };
  });
}
