import { afterEach, beforeEach } from 'vitest';

/** The messages of what is thrown and caught by nobody in each test of the block that this is called in; it fails none of them. */
export function uncaughtMessages(): Set<string> {
  const messages = new Set<string>();
  const hear = ({ message }: Error) => void messages.add(message);
  let others: NodeJS.UncaughtExceptionListener[];
  beforeEach(() => {
    messages.clear();
    others = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException').on('uncaughtException', hear);
  });
  afterEach(() => {
    process.off('uncaughtException', hear);
    for (const other of others) process.on('uncaughtException', other);
  });
  return messages;
}
