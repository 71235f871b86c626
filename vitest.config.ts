import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/left-out.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // What is waited for comes late where the machine is busy; the limit only catches what never comes.
    expect: { poll: { timeout: 15_000 } },
    // Many of these run over real sockets, clocks and kernels that others share: what fails twice is broken.
    retry: 1,
    // Most of the time they wait: for a NAT's timer, a round trip, a process. One for each processor would leave it idle.
    maxWorkers: 3,
  },
});
