import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { identityFromSeed } from '../../src/core/identity.ts';
import { AllowFile, allowListOf, parseAllowRule } from '../../peer/allow-list.ts';
import { Home } from '../../peer/home.ts';
import { SettingsFile } from '../../peer/settings.ts';

let home: Home;
beforeEach(() => {
  home = new Home(mkdtempSync(join(tmpdir(), 'sallyport-home-')));
});
afterEach(() => rmSync(home.folder, { recursive: true }));

const code = (expected: string) => expect.objectContaining({ code: expected });

describe('the key file', () => {
  it('is made on first use, for its owner alone, and stays', () => {
    const { id } = home.identity();
    expect(statSync(join(home.folder, 'key')).mode & 0o777).toBe(0o600);
    expect(home.identity().id).toBe(id);
  });

  it('is refused, with what mends it, when others may read it', () => {
    home.identity();
    chmodSync(join(home.folder, 'key'), 0o644);
    expect(() => home.identity()).toThrow(
      expect.objectContaining({ code: 'KEY_FILE_MODE', hint: expect.stringContaining('chmod 600') }),
    );
  });

  it.each(['', 'garbage', 'sallyport-ed25519-seed AAAA'])('is never made anew when it holds %j', (text) => {
    const path = join(home.folder, 'key');
    writeFileSync(path, text, { mode: 0o600 });
    expect(() => home.identity()).toThrow(code('KEY_FILE_INVALID'));
    expect(readFileSync(path, 'utf8')).toBe(text);
  });
});

it('is the user’s own where an empty one is named, not the folder that one is in', () => {
  expect(new Home('').folder).toBe(new Home().folder);
});

describe('the allow list', () => {
  const alice = identityFromSeed(new Uint8Array(32).fill(1)).id;
  const bob = identityFromSeed(new Uint8Array(32).fill(2)).id;

  it('remembers who is allowed, and for what', () => {
    const file = new AllowFile(home.allowFile);
    expect(file.allow(alice)).toBe(true);
    expect(file.allow(`${alice}=web,ssh`)).toBe(false);
    const list = allowListOf(file.rules());
    expect(list.grantOf(alice)).toEqual(new Set(['web', 'ssh']));
    expect(list.grantOf(bob)).toBeUndefined();
    expect(file.deny(alice)).toBe(true);
    expect(file.deny(alice)).toBe(false);
    expect(allowListOf(file.rules()).grantOf(alice)).toBeUndefined();
    expect(file.allow(alice)).toBe(true);
    expect(allowListOf(file.rules()).grantOf(alice)).toBe('all');
  });

  it.each(['=', '=,', '=web,,ssh', '=web, '])('refuses a service without a name: %j', (services) => {
    expect(() => parseAllowRule(`${alice}${services}`)).toThrow(/without a name/);
  });

  it.each(['=web\nany', '=web\r', '=web#1', '=#'])('refuses what would end a line: %j', (services) => {
    const file = new AllowFile(home.allowFile);
    expect(() => file.allow(`${alice}${services}`)).toThrow(code('USAGE'));
    expect(file.rules()).toEqual([]);
  });

  it('takes the names of services as they were exposed, blanks around them aside', () => {
    const { grant } = parseAllowRule(`${alice}=web, ssh,/run/a=b.sock`);
    expect(grant).toEqual(new Set(['web', 'ssh', '/run/a=b.sock']));
  });

  it('denies whom any rule lets in, wherever that rule stands', () => {
    const file = new AllowFile(home.allowFile);
    file.allow('any');
    file.deny(alice);
    const options = ['any', alice, `${alice}=web`].map(parseAllowRule);
    for (const rules of [file.rules(), [...file.rules(), ...options], [...options, ...file.rules()]]) {
      expect(allowListOf(rules).grantOf(alice)).toBeUndefined();
      expect(allowListOf(rules).grantOf(bob)).toBe('all');
    }
  });

  it('takes the rule for any back, and leaves those for peers and the options alone', () => {
    const file = new AllowFile(home.allowFile);
    for (const rule of ['any', alice]) file.allow(rule);
    expect(file.deny('any')).toBe(true);
    expect(allowListOf(file.rules()).grantOf(bob)).toBeUndefined();
    expect(allowListOf(file.rules()).grantOf(alice)).toBe('all');
    expect(allowListOf([...file.rules(), parseAllowRule('any')]).grantOf(bob)).toBe('all');
    file.allow('any');
    expect(allowListOf(file.rules()).grantOf(bob)).toBe('all');
  });

  it('puts a rule for the peer itself before the rule for any', () => {
    const list = allowListOf([parseAllowRule('any'), parseAllowRule(`${alice}=web`)]);
    expect(list.grantOf(alice)).toEqual(new Set(['web']));
    expect(list.grantOf(bob)).toBe('all');
  });

  it('is only added to: what others wrote meanwhile stays, and the last line for an id counts', () => {
    const notes = `# friends\n${alice}=web # at work\n!${bob}`;
    writeFileSync(home.allowFile, notes, { mode: 0o600 });
    const file = new AllowFile(home.allowFile);
    expect(file.allow(alice)).toBe(false);
    expect(readFileSync(home.allowFile, 'utf8')).toBe(`${notes}\n${alice}\n`);
    expect(allowListOf(file.rules()).grantOf(alice)).toBe('all');
    expect(allowListOf(file.rules()).isDenied(bob)).toBe(true);
    // What is so already is not said again.
    file.allow(alice);
    file.deny(bob);
    expect(readFileSync(home.allowFile, 'utf8')).toBe(`${notes}\n${alice}\n`);
    expect(statSync(home.allowFile).mode & 0o777).toBe(0o600);
  });

  it('names the line that is wrong', () => {
    writeFileSync(home.allowFile, `# mine\n${alice}\nnonsense\n`, { mode: 0o600 });
    expect(() => new AllowFile(home.allowFile).rules()).toThrow(/line 3/);
  });
});

describe('the settings', () => {
  it('keep the rendezvous and pins between runs', () => {
    const { id } = home.identity();
    new SettingsFile(home.settingsFile).remember({ url: 'https://r.example', id, token: 't' });
    new SettingsFile(home.settingsFile).pinName('bob', id);
    const again = new SettingsFile(home.settingsFile);
    expect(again.rendezvous).toEqual({ url: 'https://r.example', id, token: 't' });
    expect(again.pinnedName('bob')).toBe(id);
  });

  it.each(['{', '{"rendezvous": 1}', '{"unknown": 1}'])('%s is refused, typed', (text) => {
    writeFileSync(home.settingsFile, text, { mode: 0o600 });
    expect(() => new SettingsFile(home.settingsFile).rendezvous).toThrow(code('CONFIG_INVALID'));
  });
});
