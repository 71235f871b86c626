import { transferring, underWay, until } from './stage.ts';

export interface KillReport {
  /** Until the other end had said that the peer is lost. */
  readonly noticedMs: number;
  readonly code: string;
  /** Of `peer connect`, where that is the end that lives on. */
  readonly status: number | null | undefined;
  /** The program at that end was told of a broken connection, and not of an end. */
  readonly broken: boolean;
}

/** One of the peers is killed in the middle of a transfer. */
export async function killPeer(who: 'connect' | 'up', bytes: number): Promise<KillReport> {
  return transferring({}, bytes, async (transfer) => {
    const { connect, scenario } = transfer;
    await underWay(transfer, 'direct');
    const [victim, witness] = who === 'up' ? [scenario.up, connect] : [connect, scenario.up];
    const before = witness.events.length;
    victim.child.kill('SIGKILL');
    const began = performance.now();
    const lost = () =>
      witness.events
        .slice(before)
        .find(({ event, reason }) => event === 'error' || (event === 'closed' && reason === 'PEER_LOST'));
    await until(() => lost() !== undefined, 150_000, 'the loss to be noticed');
    const noticedMs = Math.round(performance.now() - began);
    const status = who === 'up' ? (await connect.ended).status : undefined;
    const [here, there] = await transfer.outcomes();
    const { code, reason } = lost()!;
    return {
      noticedMs,
      code: String(code ?? reason),
      status,
      broken: (who === 'up' ? here : there) !== 'done',
    };
  });
}
