import { getActiveResourcesInfo } from 'node:process';
import { PassThrough } from 'node:stream';
import { expect, it } from 'vitest';
import { dialTarget } from '../../peer/services/target.ts';
import { LIMITS } from '../../src/core/limits.ts';

it('so many names of targets are looked up at once, and those of streams that are gone not at all', async () => {
  const streams = Array.from({ length: 20 }, () => new PassThrough());
  const codes = streams.map((stream, n) =>
    dialTarget({ via: 'tcp', host: `${n}.invalid`, port: 9 }, false, stream).then(
      () => undefined,
      ({ code }: { code: string }) => code,
    ),
  );
  const lookups = getActiveResourcesInfo().filter((resource) => resource === 'GetAddrInfoReqWrap');
  expect(lookups).toHaveLength(LIMITS.lookupsAtOnce);
  for (const stream of streams.slice(LIMITS.lookupsAtOnce)) stream.destroy();
  const unreachable = Array.from({ length: LIMITS.lookupsAtOnce }, () => 'TARGET_UNREACHABLE');
  const aborted = Array.from({ length: streams.length - LIMITS.lookupsAtOnce }, () => 'ABORTED');
  expect(await Promise.all(codes)).toEqual([...unreachable, ...aborted]);
});

it('an address that `--expose any` leaves out is told as what was asked for', async () => {
  const target = { via: 'tcp', host: '169.254.169.254', port: 80 } as const;
  await expect(dialTarget(target, false)).rejects.toMatchObject({
    code: 'NOT_AUTHORIZED',
    message: '169.254.169.254 is never reached by `--expose any`',
  });
});
