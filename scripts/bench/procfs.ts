import { existsSync, readFileSync } from 'node:fs';

/** Seconds of processor that a process has taken; `undefined` where there is no procfs. */
export function processorTime(pid: number): number | undefined {
  const path = `/proc/${pid}/stat`;
  if (!existsSync(path)) return undefined;
  const fields = readFileSync(path, 'utf8').split(') ')[1]!.split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND; // utime and stime, proc_pid_stat(5)
}

/** Resident mebibytes of a process. */
export function residentMiB(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+)/.exec(status)![1]) / 1024;
}

/** USER_HZ, the same on every Linux. */
const TICKS_PER_SECOND = 100;
