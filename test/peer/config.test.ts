import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readConfig } from '../../peer/config.ts';

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sallyport-config-'));
  path = join(folder, 'config.yaml');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function read(text: string): Promise<Record<string, unknown>> {
  writeFileSync(path, text);
  const entries = await readConfig(path, true);
  return Object.fromEntries(
    entries.map(({ command, option, value }) => [command ? `${command} ${option}` : option, value]),
  );
}

async function complaint(text: string): Promise<string> {
  const thrown = await read(text).then(
    () => ({ code: 'none', message: '' }),
    (error: unknown) => error as { code: string; message: string },
  );
  expect(thrown.code).toBe('CONFIG_INVALID');
  return thrown.message.replace(`${path}, `, '');
}

describe('a configuration file', () => {
  it('holds the options of all commands and of each, durations with their unit', async () => {
    const text = `
rendezvous: https://rendezvous.example.org
quiet: true
up:
  allow: [any]        # everybody
  expose:
    - web=127.0.0.1:3000
ping: { interval: 1.5s, count: 3 }
connect: { paths: [relay-h2, udp] }
nat: { timeout: 2m }
`;
    expect(await read(text)).toEqual({
      rendezvous: 'https://rendezvous.example.org',
      quiet: true,
      'up allow': ['any'],
      'up expose': ['web=127.0.0.1:3000'],
      'connect paths': ['relay-h2', 'udp'],
      'ping interval': '1.5s',
      'ping count': 3,
      'nat timeout': '2m',
    });
  });

  it('may be JSON, or empty', async () => {
    expect(await read('{"up": {"name": "laptop"}}')).toEqual({ 'up name': 'laptop' });
    expect(await read('# nothing yet\n')).toEqual({});
    expect(await readConfig(join(folder, 'none.yaml'), false)).toEqual([]);
    expect(await read('up:\n  # allow: [any]\nquiet: true\n')).toEqual({ quiet: true });
  });

  it.each([
    ['quiet: true\nup:\n  alow: [any]\n', 'line 3: up.alow: there is no such key'],
    ['- up\n- down\n', 'line 1: the file: expected keys with values'],
    ['up\n', 'line 1: the file: expected keys with values'],
    ['\ncolour: red\n', 'line 2: colour: there is no such key'],
    ['ping:\n  interval: 25\n', 'line 2: ping.interval: expected a duration such as "25s"'],
    ['up:\n  allow: any\n', 'line 2: up.allow: expected a list, such as [a, b]'],
    ['up:\n  permit-listen:\n    - 80\n    - *:8080\n', 'line 4: up.permit-listen: *:8080 refers to nothing'],
    ['rendezvous: !!binary aGk=\n', 'line 1: Unresolved tag: tag:yaml.org,2002:binary'],
    ['up: !!set {}\n', 'line 1: Unresolved tag: tag:yaml.org,2002:set'],
    ['ping: { interval: 25 parsecs }', 'line 1: ping.interval: expected a duration such as "25s"'],
  ])('with a mistake is refused by line and key: %j', async (text, message) => {
    expect(await complaint(text)).toBe(message);
  });

  it('whose references grow beyond all bounds is refused like any other', async () => {
    const ten = (name: string) => `[${Array(10).fill(name).join(', ')}]`;
    const text = `a: &a ${ten('x')}\nb: &b ${ten('*a')}\nc: &c ${ten('*b')}\nd: ${ten('*c')}\n`;
    expect(await complaint(text)).toMatch(/Excessive alias count/);
  });

  it('with a join token in it has to be the user’s alone', async () => {
    const text = 'rendezvous: https://rendezvous.example.org#token=secret\n';
    await expect(read(text)).rejects.toMatchObject({ code: 'KEY_FILE_MODE', hint: `run: chmod 600 ${path}` });
    chmodSync(path, 0o600);
    expect(await read(text)).toEqual({ rendezvous: 'https://rendezvous.example.org#token=secret' });
  });

  it('that is broken, doubled or missing is refused by line or name', async () => {
    expect(await complaint('quiet: true\nquiet: false\n')).toMatch(/^line 2: .*unique/);
    expect(await complaint('quiet: true\n---\nquiet: false\n')).toBe('line 2: a second document begins here');
    expect(await complaint('up:\n  allow: [any\nx')).toMatch(/^line [23]: /);
    expect(await complaint('up:\n  allow:\n    - any\n    - 5\n')).toMatch(/^line 4: up\.allow\.1: /);
    await expect(readConfig(join(folder, 'none.yaml'), true)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
    });
  });
});
