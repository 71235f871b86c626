import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { History } from '../../peer/history.ts';
import { UNMEASURED, type NatProfile } from '../../src/core/nat/behavior.ts';
import { freshIdentity } from './meeting.ts';

const DAY_MS = 86_400_000;
const at = (...publicAddresses: string[]): NatProfile => {
  const measured = { ...UNMEASURED, publicAddresses };
  return { version: 1, udp: measured, tcp: measured };
};
const HOME = '198.51.100.1';
const HOTEL = '198.51.100.2';
const OFFICE = '203.0.113.1';

describe('what worked last', () => {
  const peer = freshIdentity().id;
  const other = freshIdentity().id;
  const found = { peer, here: HOME, there: OFFICE, transport: 'udp', technique: 'birthday' } as const;
  let folder: string;
  let file: string;
  let now = 1_700_000_000_000;
  const history = () => new History(file, () => now);
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'sallyport-history-'));
    file = join(folder, 'history.json');
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('is known for that peer between those two networks alone', () => {
    history().remember(found);
    expect(history().last({ peer, here: at(HOME), there: at('192.0.2.1', OFFICE) })).toMatchObject(found);
    expect(history().last({ peer: other, here: at(HOME), there: at(OFFICE) })).toBeUndefined();
    expect(history().last({ peer, here: at(HOTEL), there: at(OFFICE) })).toBeUndefined();
    expect(history().last({ peer, here: at(HOME), there: at(HOTEL) })).toBeUndefined();
  });

  it('is what came last, until it is two weeks old', () => {
    history().remember(found);
    now += DAY_MS;
    history().remember({ ...found, transport: 'tcp', technique: 'simultaneous open' });
    const last = () => history().last({ peer, here: at(HOME), there: at(OFFICE) });
    expect(last()).toMatchObject({ transport: 'tcp', at: now });
    now += 14 * DAY_MS;
    expect(last()).toBeUndefined();
  });

  it('goes along with a peer that has another id', () => {
    history().remember(found);
    history().move(peer, other);
    expect(history().last({ peer: other, here: at(HOME), there: at(OFFICE) })).toMatchObject({
      ...found,
      peer: other,
    });
    expect(history().last({ peer, here: at(HOME), there: at(OFFICE) })).toBeUndefined();
  });

  it('is written once an hour where it is the same', () => {
    history().remember(found);
    const written = () => (JSON.parse(readFileSync(file, 'utf8')) as { at: number }[]).map(({ at }) => at);
    const [first] = written();
    now += 3_599_999;
    history().remember(found);
    expect(written()).toEqual([first]);
    history().remember({ ...found, technique: 'prediction' });
    expect(written()).toEqual([now]);
    now += 3_600_000;
    history().remember({ ...found, technique: 'prediction' });
    expect(written()).toEqual([now]);
  });

  it('is kept for two hundred places, in a file that only the user can read', () => {
    for (let place = 0; place < 250; place++) history().remember({ ...found, there: `203.0.113.${place}` });
    const entries = JSON.parse(readFileSync(file, 'utf8')) as { there: string }[];
    expect(entries).toHaveLength(200);
    expect(entries[0]?.there).toBe('203.0.113.249');
    expect(statSync(file).mode & 0o077).toBe(0);
  });

  it.each(['', 'no JSON', '{"peer":1}', '[{"peer":"a"}]'])('is unknown where the file says %j', (text) => {
    writeFileSync(file, text, { mode: 0o600 });
    expect(history().last({ peer, here: at(HOME), there: at(OFFICE) })).toBeUndefined();
    history().remember(found);
    expect(history().last({ peer, here: at(HOME), there: at(OFFICE) })).toMatchObject(found);
  });

  it('does no harm where it can’t be written', () => {
    const nowhere = new History(join('/dev/null', 'history.json'));
    expect(() => nowhere.remember(found)).not.toThrow();
    expect(nowhere.last({ peer, here: at(HOME), there: at(OFFICE) })).toBeUndefined();
  });
});
