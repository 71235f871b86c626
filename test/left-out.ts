import { missingClients } from './e2e/programs.ts';
import { labSupport } from './netns/lab.ts';

/** Says once, before any test, which tests are left out on this machine, and why. */
export default async function sayWhatIsLeftOut(): Promise<void> {
  const support = await labSupport();
  for (const name of missingClients())
    process.stderr.write(
      `left out: the test with ${name}, which is not installed (test/e2e/clients.test.ts)\n`,
    );
  if (support.ok) return;
  process.stderr.write(
    `left out: the tests in network namespaces (test/netns, one in test/e2e): ${support.reason}\n`,
  );
}
