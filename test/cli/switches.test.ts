import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { option } from '../../src/cli/run.ts';
import { readSwitches } from '../../src/cli/switches.ts';

function command(): Command {
  return new Command('start')
    .addOption(option('--insecure', 'a switch'))
    .addOption(option('--relay', 'on unless said otherwise'))
    .addOption(option('--no-relay', 'its opposite').env('SALLYPORT_NO_RELAY'))
    .addOption(option('--listen <host:port>', 'no switch'));
}

function optionsIn(environment: NodeJS.ProcessEnv): unknown {
  const read = { ...environment };
  readSwitches(command(), environment, read);
  return read;
}

describe('a switch in the environment', () => {
  it.each(['0', 'false', 'No', 'off', ''])('is off for %j', (no) => {
    expect(optionsIn({ SALLYPORT_INSECURE: no })).toEqual({});
  });

  it.each(['1', 'true', 'yes'])('is on for %j', (yes) => {
    expect(optionsIn({ SALLYPORT_INSECURE: yes })).toEqual({ SALLYPORT_INSECURE: yes });
  });

  it('that says no to what is on by default turns it off', () => {
    expect(optionsIn({ SALLYPORT_RELAY: '0' })).toEqual({ SALLYPORT_NO_RELAY: '1' });
    expect(optionsIn({ SALLYPORT_RELAY: '' })).toEqual({});
  });

  it('that says no counts as given, and an empty one does not', () => {
    const sourceOf = (text: string) => {
      const start = command();
      readSwitches(start, { SALLYPORT_INSECURE: text }, {});
      return start.getOptionValueSource('insecure');
    };
    expect(sourceOf('0')).toBe('env');
    expect(sourceOf('')).toBeUndefined();
  });

  it('is told from what takes a value', () => {
    expect(optionsIn({ SALLYPORT_LISTEN: '0' })).toEqual({ SALLYPORT_LISTEN: '0' });
  });

  it('that is empty says nothing, and neither does the empty one of what takes a value', () => {
    expect(optionsIn({ SALLYPORT_LISTEN: '', SALLYPORT_INSECURE: '' })).toEqual({});
  });
});
