/** What a UDP socket of Node and one of udx have in common. */
interface Buffered {
  setRecvBufferSize(bytes: number): void;
  setSendBufferSize(bytes: number): void;
}

/** The kernel clamps these to its limits; a small buffer drops packets while JavaScript is busy. */
export function enlargeBuffers(socket: Buffered): void {
  try {
    socket.setRecvBufferSize(SOCKET_BUFFER_BYTES);
    socket.setSendBufferSize(SOCKET_BUFFER_BYTES);
  } catch {
    // some systems refuse what is above their limit: the default stays
  }
}

const SOCKET_BUFFER_BYTES = 4 * 1024 * 1024;
