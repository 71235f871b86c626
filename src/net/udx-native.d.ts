// The part of udx-native 1.21 that this project uses; the package ships no types.
declare module 'udx-native' {
  import type { EventEmitter } from 'node:events';

  export default class UDX {
    createSocket(options?: { ipv6Only?: boolean; reuseAddress?: boolean }): UDXSocket;
    createStream(id: number, options?: { framed?: boolean }): UDXStream;
  }

  export interface UDXAddress {
    host: string;
    family: 4 | 6;
    port: number;
  }

  export interface UDXSocket extends EventEmitter {
    readonly closing: boolean;
    /** Throws an `Error` with an errno `code`. */
    bind(port: number, host: string): void;
    address(): UDXAddress | null;
    /** Sends without a promise; the buffer is read later and must not change. */
    trySend(bytes: Uint8Array, port: number, host: string, ttl?: number): void;
    setRecvBufferSize(bytes: number): void;
    setSendBufferSize(bytes: number): void;
    /** Resolves once every stream of the socket is gone and the handle is closed. */
    close(): Promise<void>;
  }

  /** A streamx Duplex: takes Uint8Arrays, gives Buffers. */
  export interface UDXStream extends EventEmitter {
    readonly id: number;
    readonly destroyed: boolean;
    readonly destroying: boolean;
    readonly packetsReceived: number;
    readonly bytesReceived: number;
    readonly bytesTransmitted: number;
    readonly retransmits: number;
    readonly inflight: number;
    readonly rtoCount: number;
    readonly rtt: number;
    readonly cwnd: number;
    readonly mtu: number;
    connect(socket: UDXSocket, remoteId: number, port: number, host: string): void;
    /** Throws while `_remoteChanging`; what it returns has been done already where that is `null`. */
    changeRemote(socket: UDXSocket, remoteId: number, port: number, host: string): Promise<void> | null;
    /** The change that waits for what is in flight to the old endpoint. */
    _remoteChanging: Promise<void> | null;
    /** Hands the chunks to udx as one request; `done` follows when it has room for more, or has ended. */
    _writev(chunks: Uint8Array[], done: () => void): void;
    end(): void;
    /** One message, sent once: neither acknowledged nor held back by the congestion window. Arrives as `message`. */
    trySend(bytes: Uint8Array): void;
    /** Resolves with true once everything written was acknowledged, with false when the stream died first. */
    flush(): Promise<boolean>;
    destroy(error?: Error): void;
    /** Ends the native stream now. streamx calls it from `destroy()`, but not once both directions have ended: then it waits for the acknowledgements. */
    _predestroy(): void;
    /** What udx calls with each packet's bytes, and with `null` at the end. */
    push(packet: Buffer | null): boolean;
    resume(): void;
  }
}
