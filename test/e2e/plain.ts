import { expect, type TestContext } from 'vitest';
import { Stage, type CommandName, type RunningCommand } from './commands.ts';

/** A test with a stage of its own, so that it may run beside others; the stage is closed whatever becomes of it. */
export function staged(act: (stage: Stage) => Promise<void>): (context: TestContext) => Promise<void> {
  return async ({ onTestFinished }) => {
    const stage = new Stage();
    onTestFinished(() => stage.close());
    await act(stage);
  };
}

/** The same for `it.for`. */
export function stagedFor<Case>(
  act: (stage: Stage, each: Case) => Promise<void>,
): (each: Case, context: TestContext) => Promise<void> {
  return (each, context) => staged((stage) => act(stage, each))(context);
}

/** What a command that failed told a person: one line, and its exit status. */
export interface Complaint {
  readonly status: number | null;
  readonly code: string;
  readonly text: string;
}

/** Runs a command as a person does, without `--json`, to its failure. */
export async function complaintOf(
  stage: Stage,
  name: CommandName,
  args: readonly string[],
  environment?: NodeJS.ProcessEnv,
): Promise<Complaint> {
  const command = stage.run(name, args, { environment });
  command.child.stdin!.end();
  return complaintIn(command);
}

/** The one line of a command that has failed, or is about to. */
export async function complaintIn(command: RunningCommand): Promise<Complaint> {
  const { status, stderr } = await command.ended;
  expect(stderr).not.toMatch(/^\s+at /m); // a stack trace
  const lines = stderr.split('\n').filter((line) => line.startsWith('error '));
  expect(lines).toHaveLength(1);
  const [, code = '', text = ''] = /^error ([A-Z_]+): (.+)$/.exec(lines[0]!) ?? [];
  return { status, code, text };
}

/** A peer that is up, allows everybody and exposes what is asked. */
export async function upPeer(stage: Stage, url: string, ...args: string[]) {
  const id = await stage.id('bob');
  const up = stage.peer('bob', 'up', '--rendezvous', url, '--allow', 'any', ...args);
  await up.event('registered');
  return { id, up };
}
