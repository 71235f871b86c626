import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { Stage } from '../../test/e2e/commands.ts';
import { median, rounded, type Figures, type Outcome } from './compare.ts';

/** Milliseconds since a process was started. */
interface Start {
  readonly registered: number;
  readonly echoed: number;
  /** Of `node -e 0`, from its start to its end. */
  readonly node: number;
}

export const START = 'start';

/** Starts in one round, of each. */
const STARTS = 5;

/** The command `peer connect`, from the start of its process, beside Node that has nothing to do. */
export async function start(rounds: number): Promise<Outcome[]> {
  // With it every Node reads its whole store of certificates at its start: that is the machine's, and takes longer than our own start.
  delete process.env['NODE_EXTRA_CA_CERTS'];
  const stage = new Stage();
  const echo = createServer((socket) => socket.on('error', () => {}).pipe(socket)).listen(0, '127.0.0.1');
  try {
    await once(echo, 'listening');
    const target = `127.0.0.1:${(echo.address() as AddressInfo).port}`;
    const rendezvous = await stage.rendezvous();
    const up = stage.peer('up', 'up', '--rendezvous', rendezvous.join, '--allow', 'any', '--expose', target);
    const { id } = await up.event('registered');
    const connect = ['connect', String(id), '--rendezvous', rendezvous.join, '-W', target];
    const starts: Start[] = [];
    await startOnce(stage, connect); // makes the key
    for (let count = 0; count < STARTS * rounds; count += 1) starts.push(await startOnce(stage, connect));
    return (['registered', 'echoed'] as const).map((milestone) => outcome(milestone, starts));
  } finally {
    echo.close();
    await stage.close();
  }
}

async function startOnce(stage: Stage, [command, ...args]: string[]): Promise<Start> {
  const idle = performance.now();
  spawnSync(process.execPath, ['-e', '0']);
  const began = performance.now();
  const peer = stage.peer('connect', command!, ...args);
  peer.child.stdin!.write('x');
  const since = async (happened: Promise<unknown>): Promise<number> => {
    await happened;
    return performance.now() - began;
  };
  const times = [peer.event('registered'), once(peer.child.stdout!, 'data')].map(since);
  const [registered, echoed] = await Promise.all(times);
  await peer.stop();
  return { registered: registered!, echoed: echoed!, node: began - idle };
}

function outcome(milestone: 'registered' | 'echoed', starts: readonly Start[]): Outcome {
  const ratio = rounded(median(starts.map((each) => each.node / each[milestone])));
  return {
    name: `${START}-${milestone}`,
    about: `the command \`peer connect\` from its start, ${ABOUT[milestone]}; \`node -e 0\` from its start to its end; both without NODE_EXTRA_CA_CERTS`,
    unit: 'ms',
    ours: figures('peer connect', starts, milestone),
    theirs: [{ ...figures('node -e 0', starts, 'node'), ratio, target: undefined }],
  };
}

function figures(name: string, starts: readonly Start[], what: keyof Start): Figures {
  const rounds = starts.map((each) => rounded(each[what]));
  return { name, median: rounded(median(rounds)), rounds, processor: {} };
}

const ABOUT = {
  registered: 'until it is registered',
  echoed: 'until the first byte of stdin has come back from a target at the other peer',
};
