import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { WebSocketServer, type WebSocket } from 'ws';
import type { SallyportError } from '../core/errors.ts';
import { UPGRADE_TOKEN } from '../core/protocol/standing-leg.ts';
import { ERROR_HEADER, exporterOf, remoteOf, statusOf, type Knock } from './knock.ts';
import type { Page } from './front.ts';
import type { StandingLegs } from './front-standing.ts';

const MAX_HEADER_BYTES = 8 * 1024;
/** No more parts and no more unread chunks than an honest sender of whole messages makes. */
const MAX_FRAGMENTS = 16;
const MAX_BUFFERED_CHUNKS = 256;

interface WebSocketRoute {
  readonly server: WebSocketServer;
  readonly handler: (knock: Knock<WebSocket>) => void;
}

/** The HTTP/1.1 side of the front: one request a connection, for a page or an upgrade to a WebSocket or a standing leg. */
export class Http1Front {
  readonly #server: Server;
  readonly #routes = new Map<string, WebSocketRoute>();
  readonly #standing = new Map<string, StandingLegs>();
  readonly #settled: (socket: Duplex) => void;

  /** @param settled told when a connection has shown what it is, so that it isn't hurried any longer */
  constructor(page: (path: string) => Page, settled: (socket: Duplex) => void) {
    this.#settled = settled;
    this.#server = createServer({ maxHeaderSize: MAX_HEADER_BYTES, noDelay: true });
    this.#server.on('request', (request, response) => answerPage(page, request, response));
    this.#server.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head));
    this.#server.on('clientError', (_error, socket) => socket.destroy());
  }

  webSocket(path: string, maxPayload: number, handler: (knock: Knock<WebSocket>) => void): void {
    const server = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload,
      maxFragments: MAX_FRAGMENTS,
      maxBufferedChunks: MAX_BUFFERED_CHUNKS,
    });
    this.#routes.set(path, { server, handler });
  }

  standing(path: string, legs: StandingLegs): void {
    this.#standing.set(path, legs);
  }

  take(socket: Socket): void {
    this.#server.emit('connection', socket);
  }

  /** Ends what carries nothing yet. */
  drain(): void {
    for (const legs of this.#standing.values()) legs.drain();
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', () => socket.destroy());
    if (request.headers.upgrade?.toLowerCase() === UPGRADE_TOKEN) this.#stand(request, socket, head);
    else this.#upgradeToWebSocket(request, socket, head);
  }

  #stand(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const legs = this.#standing.get(pathOf(request));
    if (!legs) return refuse(socket, 404);
    if (request.headers.origin !== undefined) return refuse(socket, 403);
    this.#settled(socket);
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${UPGRADE_TOKEN}\r\n\r\n`,
    );
    if (head.length > 0) socket.unshift(head);
    legs.take(request.socket);
  }

  #upgradeToWebSocket(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const route = this.#routes.get(pathOf(request));
    if (!route) return refuse(socket, 404);
    // A page in somebody's browser has no business here.
    if (request.headers.origin !== undefined) return refuse(socket, 403);
    route.handler({
      remote: remoteOf(request.socket),
      headers: request.headers,
      exporter: exporterOf(request.socket),
      accept: () => {
        let accepted: WebSocket | undefined;
        this.#settled(socket);
        route.server.handleUpgrade(request, socket, head, (webSocket) => (accepted = webSocket));
        // 'close' follows, and is what its owner acts on; else it would wait for the other end to close.
        accepted?.on('error', () => accepted?.terminate());
        return accepted;
      },
      refuse: (error) => refuse(socket, statusOf(error.code), error),
    });
  }
}

function answerPage(page: (path: string) => Page, request: IncomingMessage, response: ServerResponse): void {
  const { status, text } = request.method === 'GET' ? page(pathOf(request)) : { status: 405, text: '' };
  request.on('error', () => undefined);
  response.on('error', () => undefined);
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8', connection: 'close' });
  response.end(text);
}

function pathOf(request: IncomingMessage): string {
  return (request.url ?? '').replace(/\?.*$/s, '');
}

function refuse(socket: Duplex, status: number, error?: SallyportError): void {
  const reason = error ? `${ERROR_HEADER}: ${error.code}\r\n` : '';
  socket.end(`HTTP/1.1 ${status} Refused\r\n${reason}Connection: close\r\nContent-Length: 0\r\n\r\n`);
}
