/**
 * What a listener or a callback of the program's throws is thrown again where nothing of ours is under way: uncaught, as with Node's own
 * sockets and servers, and neither taken for a failure of ours nor in the way of what else is to be done.
 */
export function uncaught(thrown: unknown): void {
  process.nextTick(() => {
    throw thrown;
  });
}
