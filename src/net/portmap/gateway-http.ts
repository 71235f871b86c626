import { request } from 'node:http';
import { SallyportError } from '../../core/errors.ts';

export interface GatewayRequest {
  /** On the router itself: see `gatewayUrl`. */
  readonly url: URL;
  /** A POST where given, else a GET. */
  readonly soap?: { readonly action: string; readonly body: string } | undefined;
  readonly signal: AbortSignal;
}

export interface GatewayAnswer {
  readonly status: number;
  readonly body: string;
}

/**
 * One HTTP request to the router, past any proxy; no redirect is followed. Fails with `TIMEOUT`, `ABORTED`, `LIMIT`
 * (more than 64 KiB) or `UNSUPPORTED`.
 */
export function fetchFromGateway({ url, soap, signal }: GatewayRequest): Promise<GatewayAnswer> {
  return new Promise((resolve, reject) => {
    const headers = {
      connection: 'close',
      ...(soap && {
        'content-type': 'text/xml; charset="utf-8"',
        'content-length': Buffer.byteLength(soap.body),
        soapaction: soap.action,
      }),
    };
    const method = soap ? 'POST' : 'GET';
    const outgoing = request(url, { method, headers, agent: false, signal, maxHeaderSize: MAX_HEADER_BYTES });
    const fail = (
      code: 'TIMEOUT' | 'LIMIT' | 'UNSUPPORTED' | 'ABORTED',
      message: string,
      cause?: unknown,
    ) => {
      clearTimeout(timer);
      reject(new SallyportError(code, message, { cause }));
      outgoing.destroy();
    };
    const timer = setTimeout(() => fail('TIMEOUT', 'the router did not answer in time'), ANSWER_MS).unref();
    const broken = (cause: Error) =>
      fail(signal.aborted ? 'ABORTED' : 'UNSUPPORTED', 'the router does not answer as UPnP asks', cause);
    outgoing.on('error', broken);
    outgoing.on('response', (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('error', broken);
      response.on('data', (chunk: string) => {
        body += chunk;
        if (body.length > MAX_BODY) fail('LIMIT', 'the router answers at too great a length');
      });
      response.on('end', () => {
        clearTimeout(timer);
        resolve({ status: response.statusCode ?? 0, body });
      });
    });
    outgoing.end(soap?.body);
  });
}

const MAX_BODY = 64 * 1024;
const MAX_HEADER_BYTES = 8 * 1024;
const ANSWER_MS = 3_000;
