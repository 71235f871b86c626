import type { IncomingHttpHeaders } from 'node:http';
import type { TLSSocket } from 'node:tls';
import type { Duplex } from 'node:stream';
import { sourceAddress } from '../core/address.ts';
import type { Endpoint } from '../core/endpoint.ts';
import type { ErrorCode, SallyportError } from '../core/errors.ts';

/** Somebody at the door who wants more than a page: a WebSocket, or a circuit over HTTP/2. */
export interface Knock<Carrier> {
  readonly remote: Endpoint;
  readonly headers: IncomingHttpHeaders;
  /** Keying material of the TLS connection it came over (RFC 9266); empty on a cleartext one. */
  readonly exporter: Uint8Array;
  /** Lets it in; `undefined` when the request turns out malformed (it has been answered then). */
  accept(): Carrier | undefined;
  /** Answers with the error's code in the header `sallyport-error`. */
  refuse(error: SallyportError): void;
}

/** The response header that says why, by code. */
export const ERROR_HEADER = 'sallyport-error';

const EXPORTER_LABEL = 'EXPORTER-sallyport-1';

/** Both ends of one TLS connection get the same 32 bytes, and nobody in the middle of two connections can. */
export function exporterOf(socket: Duplex): Uint8Array {
  // Asked of the socket, since a cleartext connection need not load Node's TLS for this.
  if (!('exportKeyingMaterial' in socket)) return new Uint8Array(0);
  return new Uint8Array((socket as TLSSocket).exportKeyingMaterial(32, EXPORTER_LABEL, Buffer.alloc(0)));
}

export function remoteOf(socket: {
  remoteAddress?: string | undefined;
  remotePort?: number | undefined;
}): Endpoint {
  return { address: sourceAddress(socket.remoteAddress ?? '0.0.0.0'), port: socket.remotePort ?? 0 };
}

export function statusOf(code: ErrorCode): number {
  return STATUS[code] ?? 403;
}

const STATUS: Partial<Record<ErrorCode, number>> = {
  PROTOCOL_ERROR: 400,
  TICKET_EXPIRED: 410,
  LIMIT: 429,
  RATE_LIMITED: 429,
};
