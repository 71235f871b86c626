import { describe, expect, it } from 'vitest';
import type { PathKind } from '../../../src/core/session/events.ts';
import { selectPath, type SelectablePath } from '../../../src/core/session/selector.ts';

function path(
  id: number,
  kind: PathKind,
  rttMs: number | undefined,
  more: Partial<SelectablePath> = {},
): SelectablePath {
  return { id, kind, direct: !kind.startsWith('relay'), lan: false, ipv6: false, rttMs, ...more };
}

describe('selectPath', () => {
  it.each([
    [
      'direct before relay, however slow',
      [path(1, 'relay-h1', 5), path(2, 'udp', 200)],
      1,
      false,
      2,
      'upgrade',
    ],
    ['the faster of two direct ones', [path(1, 'udp', 50), path(2, 'udp', 20)], 1, false, 2, 'lateral'],
    ['the current one within 5 ms', [path(1, 'udp', 24), path(2, 'udp', 20)], 1, false, 1, 'stay'],
    ['IPv6 by a bonus', [path(1, 'udp', 24), path(2, 'udp', 20, { ipv6: true })], 1, false, 2, 'lateral'],
    ['the LAN by a bonus', [path(1, 'udp', 20), path(2, 'udp', 20, { lan: true })], 1, false, 2, 'lateral'],
    ['TCP for bulk', [path(1, 'udp', 20), path(2, 'tcp', 22)], 1, true, 2, 'lateral'],
    [
      'UDP where TCP is far slower, even for bulk',
      [path(1, 'udp', 20), path(2, 'tcp', 90)],
      1,
      true,
      1,
      'stay',
    ],
    ['no path that was not measured', [path(1, 'udp', 20), path(2, 'tcp', undefined)], 1, true, 1, 'stay'],
    [
      'the raw relay before WebSocket',
      [path(1, 'relay-ws', 20), path(2, 'relay-h1', 20)],
      undefined,
      false,
      2,
      'fallback',
    ],
    ['the relay when nothing else is left', [path(1, 'relay-h1', 20)], 2, false, 1, 'fallback'],
  ] as const)('takes %s', (_what, paths, current, bulk, id, move) => {
    expect(selectPath(paths, current, bulk)).toMatchObject({ id, move });
  });

  it('takes nothing from nothing', () => {
    expect(selectPath([], undefined, false)).toBeUndefined();
  });
});
