import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fromBase64url } from '../../src/core/bytes.ts';
import { parseRendezvousUrl } from '../../src/core/rendezvous-url.ts';
import { Stage, type Ended } from '../e2e/commands.ts';

let stage: Stage;
beforeEach(() => {
  stage = new Stage();
});
afterEach(() => stage.close());

/** A key file's seed in every form in which it could be written. */
function seedOf(path: string): string[] {
  const encoded = readFileSync(path, 'utf8').trim().split(/\s+/)[1]!;
  const seed = Buffer.from(fromBase64url(encoded));
  return [encoded, seed.toString('hex'), seed.toString('base64'), seed.toString('latin1')];
}

describe('what commands say', () => {
  it('holds no key, and the join token only where the operator is told the join URL', async () => {
    const tokenFile = stage.home('token');
    const rendezvous = await stage.rendezvous('--token-file', tokenFile, '--verbose');
    const token = parseRendezvousUrl(rendezvous.join).token!;
    const ended: Ended[] = [];
    for (const name of ['a', 'b']) ended.push(await stage.peer(name, 'join', rendezvous.join).ended);
    const up = stage.peer('b', 'up', '--allow', 'any', '--pipe', '--verbose');
    const { id } = await up.event('registered');
    const verbose = stage.peer('a', 'connect', String(id), '--explain', '--verbose');
    verbose.child.stdin!.end('data');
    up.child.stdin!.end('data');
    ended.push(await verbose.ended);
    expect(ended.map(({ status }) => status)).toEqual([0, 0, 0]);

    const wrong = ['--rendezvous', `${rendezvous.url}#token=a-token-that-is-wrong`];
    const damaged = ['--rendezvous', `${rendezvous.join}&id=nonsense`];
    for (const args of [wrong, damaged]) ended.push(await stage.peer('a', 'ping', String(id), ...args).ended);
    ended.push(await stage.peer('a', 'status').ended, await up.stop(), await rendezvous.command.stop());

    const keys = [
      stage.home('a/key'),
      stage.home('b/key'),
      join(stage.home('rendezvous'), 'rendezvous.key'),
    ].flatMap(seedOf);
    const said = ended.map(({ stdout, stderr }) => `${stdout.toString('latin1')}\n${stderr}`);
    for (const text of said) for (const key of keys) expect(text).not.toContain(key);
    const lines = said.flatMap((text) => text.split('\n')).filter((line) => line.includes(token));
    expect(lines).toHaveLength(1);
    expect(JSON.parse(lines[0]!)).toMatchObject({ event: 'listening', join: rendezvous.join });
    expect(said.join('\n')).not.toContain('a-token-that-is-wrong');
  });
});
