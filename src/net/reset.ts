import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';

/** Ends a connection by RST where it is one of TCP, else as its kind does: a Unix socket has no such thing. */
export function resetConnection(pipe: Duplex): void {
  if (!isTcp(pipe) || isShuttingDown(pipe)) return void pipe.destroy();
  try {
    pipe.resetAndDestroy();
  } catch {
    pipe.destroy();
  }
}

/**
 * Ends a connection that is not wanted, at once and in any state, with nothing of it left behind in the kernel. Where
 * two SYNs have crossed and their answers are lost, a socket that is merely closed goes on in FIN_WAIT1, and no other can
 * be dialled between the same two endpoints for a minute (EADDRNOTAVAIL).
 */
export function forsake(pipe: Duplex): void {
  // What `resetAndDestroy` sets too; but a socket that is still connecting it lets connect first.
  if (isTcp(pipe) && !isShuttingDown(pipe))
    (pipe as Socket & { resetAndClosing: boolean }).resetAndClosing = true;
  pipe.destroy();
}

/**
 * Our end is being told to the kernel: that takes libuv until its next turn. A reset it refuses meanwhile (EINVAL), and
 * Node then never closes the socket, which keeps its server and the process from ending.
 */
function isShuttingDown({ writableEnded, writableFinished, writableLength }: Socket): boolean {
  return writableEnded && !writableFinished && writableLength === 0;
}

function isTcp(pipe: Duplex): pipe is Socket {
  return pipe instanceof Socket && !(pipe instanceof TLSSocket);
}
