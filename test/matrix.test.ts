import { describe, expect, it } from 'vitest';
import type { Technique } from '../src/core/punch/stage.ts';
import { traverse, type EndReport, type TraversalReport } from './core/punch/traversal.ts';
import { ofSeed } from './sim/conditions.ts';
import { Random } from './sim/random.ts';
import type { NatName } from './sim/presets.ts';

/**
 * Rows initiate, columns respond. Capital letters are techniques:
 *   S simultaneous probes · R peer-reflexive answer · D direct dial · V reversed dial · O simultaneous open
 *   P port prediction · B birthday · L connect then listen
 * small letters are reasons to stay on the relay:
 *   x the transport doesn't leave one of the networks · b both mappings depend on the destination
 *   f one does unpredictably, and its port is not worth thousands of dials while UDP passes
 */
const UDP = `
                    open ei/ei ei/ad ei/apd ad/ad ad/apd random sequential blocked 443 cgnat cgnat-random
open                 S    S     S     S     R     R      R      R          x       x   S     R
ei/ei                S    S     S     S     R     R      R      R          x       x   S     R
ei/ad                S    S     S     S     R     R      R      R          x       x   S     R
ei/apd               S    S     S     S     B     B      B      P          x       x   S     B
ad/ad                R    R     R     B     B     B      B      B          x       x   B     B
ad/apd               R    R     R     B     B     b      b      b          x       x   B     b
apd/apd-random       R    R     R     B     B     b      b      b          x       x   B     b
apd/apd-sequential   R    R     R     P     B     b      b      P          x       x   P     b
udp-blocked          x    x     x     x     x     x      x      x          x       x   x     x
tcp443-only          x    x     x     x     x     x      x      x          x       x   x     x
cgnat                S    S     S     S     B     B      B      P          x       x   S     B
cgnat-random         R    R     R     B     B     b      b      b          x       x   B     b`;

const TCP = `
                    open ei/ei ei/ad ei/apd ad/ad ad/apd random sequential blocked 443 cgnat cgnat-random
open                 D    D     V     V      V     V      V      V          V       x   V     V
ei/ei                D    D     V     V      V     V      V      V          V       x   V     V
ei/ad                D    D     O     O      L     L      L      L          O       x   O     L
ei/apd               D    D     O     O      f     f      f      P          O       x   O     f
ad/ad                D    D     L     f     b     b      b      b          B       x   f     b
ad/apd               D    D     L     f      b     b      b      b          B       x   f     b
apd/apd-random       D    D     L     f      b     b      b      b          B       x   f     b
apd/apd-sequential   D    D     L     P      b     b      b      P          P       x   P     b
udp-blocked          D    D     O     O      B     B      B      P          O       x   O     B
tcp443-only          x    x     x     x      x     x      x      x          x       x   x     x
cgnat                D    D     O     O      f     f      f      P          O       x   O     f
cgnat-random         D    D     L     f      b     b      b      b          B       x   f     b`;

const TECHNIQUES: Record<string, Technique> = {
  S: 'simultaneous probes',
  R: 'peer-reflexive answer',
  B: 'birthday',
  P: 'port prediction',
  D: 'direct dial',
  V: 'reversed dial',
  O: 'simultaneous open',
  L: 'connect then listen',
};

const REASONS: Record<string, RegExp> = {
  x: /lets no (UDP|TCP) out/,
  b: /both NATs use another port/,
  f: /TCP dials are made only where UDP is blocked/,
};

interface Cell {
  readonly a: NatName;
  readonly b: NatName;
  readonly udp: string;
  readonly tcp: string;
}

const cells = cellsOf(UDP, TCP);

describe('the traversal matrix, 20 ms per link', () => {
  for (const row of new Set(cells.map(({ a }) => a))) {
    it(`${row} × everything`, () => {
      for (const cell of cells.filter(({ a }) => a === row)) {
        const report = traverse({ a: cell.a, b: cell.b, delayMs: 20, seed: 1 });
        const spared = cell.udp in TECHNIQUES ? [] : [report.a.sent, report.b.sent];
        expect(Math.max(0, ...spared)).toBeLessThan(FEW_PACKETS);
        for (const end of [report.a, report.b]) {
          expect(outcomeOf(end, 'udp'), `udp, ${cell.a} × ${cell.b}`).toMatch(expected(cell.udp));
          expect(outcomeOf(end, 'tcp'), `tcp, ${cell.a} × ${cell.b}`).toMatch(expected(cell.tcp));
        }
        expect({ a: cell.a, b: cell.b, ...sawTraffic(report) }).toEqual({
          a: cell.a,
          b: cell.b,
          udp: cell.udp in TECHNIQUES,
          tcp: cell.tcp in TECHNIQUES,
        });
      }
    });
  }

  it('two hosts of one LAN meet there, within a few milliseconds of T0', () => {
    const { a, b } = traverse({ a: 'same-lan', b: 'same-lan', delayMs: 20 });
    for (const end of [a, b]) {
      expect(end.udp).toMatchObject({ technique: 'local addresses', lan: true });
      expect(end.tcp).toMatchObject({ technique: 'local addresses', lan: true });
      expect(end.udp!.elapsedMs).toBeLessThan(5);
    }
  });

  it('two LANs behind one NAT meet by its hairpin, and stay on the relay without', () => {
    const hairpin = traverse({ a: 'same-nat', b: 'same-nat', delayMs: 20 });
    expect(hairpin.a.udp?.technique).toBe('simultaneous probes');
    expect(hairpin.b.tcp?.technique).toBe('simultaneous open');
    const without = traverse({ a: 'same-nat-no-hairpin', b: 'same-nat-no-hairpin', delayMs: 20 });
    for (const end of [without.a, without.b]) {
      expect(outcomeOf(end, 'udp')).toMatch(/both peers are behind the same NAT/);
      expect(outcomeOf(end, 'tcp')).toMatch(/both peers are behind the same NAT/);
    }
  });

  it('behind one NAT whose hairpin nobody measured, failing is its proof', () => {
    const lans = { a: 'same-nat-no-hairpin', b: 'same-nat-no-hairpin', delayMs: 20 } as const;
    const { a, b } = traverse({ ...lans, hairpinUnmeasured: true });
    expect(a.sent).toBeGreaterThan(10);
    for (const { failures } of [a, b]) {
      expect(failures.map(({ code }) => code)).toEqual(['NO_HAIRPIN', 'NO_HAIRPIN']);
    }
  });

  it('two LANs behind one NAT that hairpins with the internal source meet by UDP: checks are answered where they were sent', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const internal = { hairpin: 'internal-source' } as const;
      const report = traverse({ a: 'same-nat', b: 'same-nat', natA: internal, delayMs: 20, seed });
      for (const { udp } of [report.a, report.b]) {
        expect(udp).toMatchObject({ technique: 'simultaneous probes', lan: false });
        expect(udp?.remote.address).toBe('198.51.100.10');
      }
    }
  });

  it('what is not measured is tried all the same', () => {
    const { a, b } = traverse({ a: 'ei/apd', b: 'ei/apd', delayMs: 20, unmeasured: true });
    for (const end of [a, b]) {
      expect(end.udp?.technique).toBe('simultaneous probes');
      expect(end.tcp?.technique).toBe('simultaneous open');
    }
  });
});

describe('easy pairs under delay, 5 % loss, reordering, duplication, skew and clock offsets', () => {
  const easy = cells.filter(({ udp }) => udp === 'S');

  it('are direct by UDP in 1,000 of 1,000 runs, and both ends name the same technique', () => {
    const times: number[] = [];
    for (let seed = 0; seed < 1_000; seed++) {
      const report = traverse({ ...easy[seed % easy.length]!, ...roughly(seed), kinds: ['udp', 'relay'] });
      expect(report.a.udp?.technique, `seed ${seed}`).toBe('simultaneous probes');
      expect(report.b.udp?.technique, `seed ${seed}`).toBe('simultaneous probes');
      times.push(Math.max(report.a.udp!.elapsedMs, report.b.udp!.elapsedMs));
    }
    print('UDP, 5 % loss', times);
  });

  it('are direct by TCP in at least 198 of 200 runs', () => {
    const times: number[] = [];
    for (let seed = 0; seed < 200; seed++) {
      const { a, b } = traverse({ ...easy[seed % easy.length]!, ...roughly(seed), kinds: ['tcp', 'relay'] });
      expect(a.tcp === undefined, `seed ${seed}`).toBe(b.tcp === undefined);
      if (a.tcp && b.tcp) times.push(Math.max(a.tcp.elapsedMs, b.tcp.elapsedMs));
    }
    print('TCP, 5 % loss', times);
    expect(times.length).toBeGreaterThanOrEqual(198);
  });

  /** 5–60 ms per link, up to 300 ms of skew, up to a day between the clocks. */
  function roughly(seed: number) {
    const random = new Random(`links ${seed}`);
    return {
      ...ofSeed(seed, 300),
      delayMs: random.integer(5, 60),
      jitterMs: random.integer(0, 5),
      lossPercent: 5,
      reorderPercent: 5,
      duplicatePercent: 2,
    };
  }
});

/** [a, b, the techniques that may win, percent of loss, how many of 100 runs are direct at least] */
const HARD_BY_TCP: [NatName, NatName, Technique[], number, number][] = [
  ['udp-blocked', 'ei/apd', ['simultaneous open', 'connect then listen'], 5, 98],
  ['udp-blocked', 'cgnat', ['simultaneous open', 'connect then listen'], 10, 95],
  ['udp-blocked', 'udp-blocked', ['simultaneous open', 'connect then listen'], 30, 60],
  ['udp-blocked', 'apd/apd-sequential', ['port prediction', 'birthday'], 5, 95],
  ['apd/apd-sequential', 'udp-blocked', ['port prediction', 'birthday'], 10, 90],
  ['udp-blocked', 'apd/apd-sequential', ['port prediction', 'birthday'], 30, 60],
  ['apd/apd-random', 'udp-blocked', ['birthday'], 5, 95],
  ['udp-blocked', 'cgnat-random', ['birthday'], 10, 90],
  ['udp-blocked', 'apd/apd-random', ['birthday'], 30, 60],
];

describe('pairs without UDP, starts up to 500 ms apart, clocks up to a day', () => {
  it.each(HARD_BY_TCP)(
    '%s × %s by %s, at %i percent loss, at least %i times of 100',
    (a, b, techniques, loss, least) => {
      const times: number[] = [];
      for (let seed = 0; seed < 100; seed++) {
        const random = new Random(`pairs without UDP ${seed}`);
        const report = traverse({
          a,
          b,
          seed,
          delayMs: 20,
          lossPercent: loss,
          skewMs: random.integer(0, 500),
          clockOffsetB: random.integer(-86_400_000, 86_400_000),
          kinds: ['tcp', 'relay'],
        });
        const seen = [report.a, report.b].flatMap(({ tcp }) => tcp?.technique ?? []);
        expect(techniques, `seed ${seed}`).toEqual(expect.arrayContaining(seen));
        expect(Math.max(report.a.dialed, report.b.dialed)).toBeLessThanOrEqual(2_048);
        if (report.a.tcp && report.b.tcp)
          times.push(Math.max(report.a.tcp.elapsedMs, report.b.tcp.elapsedMs));
      }
      print(`${a} × ${b}, TCP, ${loss} % loss`, times);
      expect(times.length).toBeGreaterThanOrEqual(least);
    },
  );
});

function outcomeOf(end: EndReport, transport: 'udp' | 'tcp'): string {
  const failure = end.failures.find((failed) => failed.transport === transport);
  return end[transport]?.technique ?? failure?.reason ?? 'neither a path nor a reason';
}

function expected(letter: string): RegExp {
  return REASONS[letter] ?? new RegExp(`^${TECHNIQUES[letter]}$`);
}

/** A pair that can't go direct by UDP isn't flooded. */
const FEW_PACKETS = 32;

/** By the hosts' own counters: whether more than single strays have passed from host to host. */
function sawTraffic({ lans }: TraversalReport): { udp: boolean; tcp: boolean } {
  const { udp, tcp } = lans.direct();
  return { udp: udp > 2, tcp: tcp > 4 };
}

function print(what: string, times: number[]): void {
  times.sort((x, y) => x - y);
  const at = (part: number) => Math.round(times[Math.floor(part * (times.length - 1))]!);
  console.log(
    `${what}: ${times.length} direct; after T0: median ${at(0.5)} ms, p90 ${at(0.9)} ms, most ${at(1)} ms`,
  );
}

function cellsOf(udp: string, tcp: string): Cell[] {
  const rows = (text: string) =>
    text
      .trim()
      .split('\n')
      .slice(1)
      .map((line) => line.trim().split(/\s+/));
  const names = rows(udp).map(([name]) => name as NatName);
  return names.flatMap((a, row) =>
    names.map((b, column) => ({
      a,
      b,
      udp: rows(udp)[row]![column + 1]!,
      tcp: rows(tcp)[row]![column + 1]!,
    })),
  );
}
