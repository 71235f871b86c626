import { isatty } from 'node:tty';

const STANDARD_STREAMS = [0, 1, 2];

/** Those that a terminal was, when this process began. */
const terminals = STANDARD_STREAMS.filter((fd) => isatty(fd));

/**
 * The terminal that this process was started in has been closed; false where there was none. The kernel takes a terminal's files back before
 * it sends SIGHUP, so that a handler of that can tell why it came.
 */
export function hasLostTerminal(): boolean {
  return terminals.length > 0 && !terminals.some((fd) => isatty(fd));
}
