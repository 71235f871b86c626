import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AgentSocket, runningAgents } from '../../peer/agent-socket.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'agents-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const status = {
  pid: process.pid,
  command: 'up',
  id: 'me',
  rendezvous: 'http://there',
  registered: true,
  sessions: [],
  forwards: [],
};

/** A process that listens as an agent does, and whatever else `then` has it do. */
function agent(then: string): ReturnType<typeof spawn> {
  const listen = `require('net').createServer().listen(process.argv[1] + '/' + process.pid + '.sock', () => {
    console.log('ready');
    ${then}
  });`;
  return spawn(process.execPath, ['-e', listen, folder]);
}

describe('agents of one home', () => {
  it('are found, and what the dead have left is removed by however many look at once', async () => {
    const here = await AgentSocket.listen(folder, () => status);
    const dead = Array.from({ length: 3 }, () => agent(`process.kill(process.pid, 'SIGKILL');`));
    await Promise.all(dead.map((child) => once(child, 'close')));
    expect(readdirSync(folder)).toHaveLength(4);
    const looks = Array.from({ length: 8 }, () => runningAgents(folder));
    for (const found of await Promise.all(looks)) expect(found).toEqual([status]);
    expect(readdirSync(folder)).toEqual([`${process.pid}.sock`]);
    await here.close();
    expect(readdirSync(folder)).toEqual([]);
  });

  it('are told of where they don’t answer', async () => {
    const stopped = agent('');
    await once(stopped.stdout!, 'data');
    stopped.kill('SIGSTOP');
    expect(await runningAgents(folder)).toEqual([{ pid: stopped.pid }]);
    stopped.kill('SIGKILL');
    await once(stopped, 'close');
  });

  it('end although somebody who asked them stays connected', async () => {
    const here = await AgentSocket.listen(folder, () => status);
    const asker = connect({ path: join(folder, `${process.pid}.sock`), allowHalfOpen: true });
    await once(asker.resume(), 'end');
    await here.close();
    expect(asker.closed).toBe(false);
    asker.destroy();
  });

  it('share their folder with whatever else lies there', async () => {
    writeFileSync(join(folder, 'notes'), 'mine');
    mkdirSync(join(folder, 'old.sock'));
    expect(await runningAgents(folder)).toEqual([]);
    expect(readdirSync(folder).sort()).toEqual(['notes', 'old.sock']);
  });

  it('have no home whose path is too long for a socket', async () => {
    const deep = join(folder, 'x'.repeat(120));
    await expect(AgentSocket.listen(deep, () => status)).rejects.toMatchObject({
      code: 'USAGE',
      hint: expect.stringContaining('--home'),
    });
    expect(readdirSync(folder)).toEqual([]);
  });
});
