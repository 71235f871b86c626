import { describe, expect, it } from 'vitest';
import { labSupport } from './lab.ts';
import { grow } from './survival/aging.ts';

const support = await labSupport();
if (!support.ok) console.log(`skipped, a NAT that lets no mapping grow old: ${support.reason}`);

const AGE_MS = 13_000;

describe.skipIf(!support.ok)('behind a NAT that ends each mapping at the same age', () => {
  it(
    'a session learns from two losses, and makes its next paths before they are lost',
    { timeout: 240_000 },
    async () => {
      const { equal, fellAt, replaced } = await grow({ ageMs: AGE_MS, lives: 5 });
      expect(equal).toBe(true);
      expect(fellAt).toHaveLength(2);
      expect(replaced).toBeGreaterThanOrEqual(2);
    },
  );
});
