import { fileURLToPath } from 'node:url';
import { RoleProcess } from './role-process.ts';

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

/** What both ends do on the wire between them: one of exercises.mjs, with its parameters. */
export type Exercise =
  | { readonly exercise: 'bulk'; readonly parameters: BulkParameters }
  | { readonly exercise: 'connect'; readonly parameters: { readonly times: number } };

interface BulkParameters {
  /** A multiple of 4 MiB. */
  readonly bytes: number;
  readonly warmUpSeconds: number;
}

export type Role = 'middle' | 'listen' | 'dial';

/** Seconds of processor that each process took. */
export type ProcessorTimes = Readonly<Partial<Record<Role, number>>>;

export interface Measurement {
  /** For the bytes, or for one connection. */
  readonly seconds: number;
  readonly processor: ProcessorTimes;
}

/** Runs one exercise between two new processes, three with a middle, and ends them. */
export async function measure(contender: Contender, exercise: Exercise): Promise<Measurement> {
  const processes = new Map<Role, RoleProcess>();
  try {
    return await run(contender, exercise, processes);
  } catch (cause) {
    throw new Error(`${contender.name} gave no result`, { cause });
  } finally {
    await Promise.all([...processes.values()].map((each) => each.end()));
  }
}

async function run(
  { module, variant, middle: hasMiddle }: Contender,
  exercise: Exercise,
  processes: Map<Role, RoleProcess>,
): Promise<Measurement> {
  const path = fileURLToPath(new URL(module, import.meta.url));
  const start = (role: Role, known: object): RoleProcess => {
    const started = new RoleProcess({ ...exercise, ...known, module: path, variant, role });
    processes.set(role, started);
    return started;
  };
  const middle = hasMiddle ? await start('middle', {}).hear('ready') : undefined;
  const address = await start('listen', { middle }).hear('ready');
  const dialler = start('dial', { middle, address });
  await dialler.hear('ready');
  dialler.start();
  await dialler.hear('began');
  const before = processorTimes(processes);
  const seconds = await dialler.hear('seconds');
  const after = processorTimes(processes);
  const spent = Object.entries(before).map(([role, time]) => [role, after[role as Role]! - time]);
  return { seconds, processor: Object.fromEntries(spent) as ProcessorTimes };
}

function processorTimes(processes: ReadonlyMap<Role, RoleProcess>): ProcessorTimes {
  const times = [...processes].map(([role, { processorTime }]) => [role, processorTime] as const);
  return Object.fromEntries(times.filter(([, time]) => time !== undefined));
}
