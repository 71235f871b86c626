import { fileURLToPath } from 'node:url';
import { RoleProcess, type Latency, type Spot } from './role-process.ts';

/** One of those that are compared. */
export interface Contender {
  readonly name: string;
  /** A module with the parts that process.mjs names, relative to this folder. */
  readonly module: string;
  /** What the module is to do of all that it can. */
  readonly variant?: string;
  /** A third process stands between the two, or introduces them. */
  readonly middle?: boolean;
}

/** What both ends do on the wire between them, with its parameters: those of exercises.mjs that end after so much work. */
export type Exercise =
  | { readonly exercise: 'bulk'; readonly parameters: BulkParameters }
  | { readonly exercise: 'connect'; readonly parameters: { readonly times: number } }
  | { readonly exercise: 'ping'; readonly parameters: PingParameters };

/** The same: those that end after some time. */
export interface TimedExercise {
  readonly exercise: 'flow' | 'latency';
  readonly parameters: { readonly warmUpSeconds: number; readonly seconds: number };
}

interface BulkParameters {
  /** A multiple of 4 MiB. */
  readonly bytes: number;
  readonly warmUpSeconds: number;
}

interface PingParameters {
  readonly times: number;
  readonly warmUpSeconds: number;
}

export type Role = 'middle' | 'listen' | 'dial';

/** Where each role's process runs. */
export type Place = (role: Role) => Spot;

/** Seconds of processor that each process took. */
export type ProcessorTimes = Readonly<Partial<Record<Role, number>>>;

export interface Measurement {
  /** For the bytes, for one connection or one round trip. */
  readonly seconds: number;
  /** What 99 of 100 round trips stayed below. */
  readonly tail?: number;
  readonly processor: ProcessorTimes;
}

/** Runs one exercise between two new processes, three with a middle, and ends them. */
export function measure(
  contender: Contender,
  exercise: Exercise,
  place: Place = onLoopback,
): Promise<Measurement> {
  return withProcesses(contender, exercise, place, async (processes) => {
    const dialler = processes.get('dial')!;
    await dialler.hear('began');
    const before = processorTimes(processes);
    const seconds = await dialler.hear('seconds');
    const after = processorTimes(processes);
    const tail = exercise.exercise === 'ping' ? { tail: await dialler.hear('tail') } : {};
    const spent = Object.entries(before).map(([role, time]) => [role, after[role as Role]! - time]);
    return { seconds, ...tail, processor: Object.fromEntries(spent) as ProcessorTimes };
  });
}

/** Bytes that came through in the seconds after the warm-up, one stream, one way. */
export function measureFlow(
  contender: Contender,
  parameters: TimedExercise['parameters'],
  place: Place,
): Promise<number> {
  return withProcesses(contender, { exercise: 'flow', parameters }, place, (processes) =>
    processes.get('listen')!.hear('received'),
  );
}

/** Single bytes to and fro on one stream, while another of the same connection is kept full. */
export function measureLatency(
  contender: Contender,
  parameters: TimedExercise['parameters'],
  place: Place,
): Promise<Latency> {
  return withProcesses(contender, { exercise: 'latency', parameters }, place, (processes) =>
    processes.get('dial')!.hear('latency'),
  );
}

async function withProcesses<Result>(
  contender: Contender,
  exercise: Exercise | TimedExercise,
  place: Place,
  use: (processes: ReadonlyMap<Role, RoleProcess>) => Promise<Result>,
): Promise<Result> {
  const processes = new Map<Role, RoleProcess>();
  try {
    await start(contender, exercise, place, processes);
    return await use(processes);
  } catch (cause) {
    throw new Error(`${contender.name} gave no result`, { cause });
  } finally {
    await Promise.all([...processes.values()].map((each) => each.end()));
  }
}

async function start(
  { module, variant, middle: hasMiddle }: Contender,
  exercise: Exercise | TimedExercise,
  place: Place,
  processes: Map<Role, RoleProcess>,
): Promise<void> {
  const path = fileURLToPath(new URL(module, import.meta.url));
  const begin = (role: Role, known: object): RoleProcess => {
    const started = new RoleProcess({ ...exercise, ...known, module: path, variant, role }, place(role));
    processes.set(role, started);
    return started;
  };
  const middle = hasMiddle ? await begin('middle', {}).hear('ready') : undefined;
  const address = await begin('listen', { middle }).hear('ready');
  const dialler = begin('dial', { middle, address });
  await dialler.hear('ready');
  dialler.start();
}

const onLoopback: Place = () => ({ enter: [], address: '127.0.0.1' });

function processorTimes(processes: ReadonlyMap<Role, RoleProcess>): ProcessorTimes {
  const times = [...processes].map(([role, { processorTime }]) => [role, processorTime] as const);
  return Object.fromEntries(times.filter(([, time]) => time !== undefined));
}
