import type { Duplex } from 'node:stream';
import { asSallyportError, SallyportError } from '../../src/core/errors.ts';
import { LIMITS } from '../../src/core/limits.ts';
import { purposeText, type StreamPurpose } from '../../src/core/protocol/open.ts';
import type { SessionStream } from '../../src/net/session-stream.ts';
import { DENIED, type AllowList } from '../allow-list.ts';
import {
  authorize,
  checkUnexposed,
  sameDestination,
  withExposure,
  type Destination,
  type Exposure,
} from '../exposure.ts';
import type { ListenPermit } from '../listen-permit.ts';
import { Quota } from '../quota.ts';
import type { Session } from '../session.ts';
import { ReverseListeners } from './reverse-listeners.ts';
import { serveStream, type StreamRecord } from './serve.ts';

/** One that throws, or rejects, resets the stream. */
export type ServiceHandler = (stream: SessionStream, session: Session) => unknown;

interface Served {
  readonly session: Session;
  readonly purpose: StreamPurpose;
  /** Where it was led, once it was allowed. */
  destination: Destination | undefined;
}

/** What this peer lets others reach, and the streams that do: allowed when they open, and asked again when rules change. */
export class ServiceProvider {
  /** Services that this process handles itself, by name. */
  readonly #handlers = new Map<string, ServiceHandler>();
  /** The same, until somebody takes the name. */
  readonly #defaults = new Map<string, ServiceHandler>();
  #exposures: readonly Exposure[] = [];
  /** Where peers may have us listen. */
  permits: ListenPermit[] = [];
  /** Gives the process's own pipe out to one stream at a time; `undefined` while it is in use. */
  pipe: (() => Duplex | undefined) | undefined;
  readonly #allowList: AllowList;
  readonly #record: (record: StreamRecord) => void;
  readonly #listeners = new ReverseListeners();
  /** In all its sessions together. */
  readonly #connections = new Quota(LIMITS.connectionsPerPeer);
  /** Each live stream that wasn't refused, and what it is allowed by. */
  readonly #served = new Map<SessionStream, Served>();
  /** One for all streams: an idle one shall hold little. */
  readonly #onClose: (this: SessionStream) => void;

  /** @param record told of each stream, for the audit */
  constructor(allowList: AllowList, record: (record: StreamRecord) => void) {
    this.#allowList = allowList;
    this.#record = record;
    const closed = (stream: SessionStream) => this.#closed(stream);
    this.#onClose = function () {
      closed(this);
    };
  }

  /** @throws SallyportError `USAGE` where the name is exposed: nothing would reach the handler */
  handle(name: string, handler: ServiceHandler): void {
    checkUnexposed(name, this.#exposures);
    this.#handlers.set(name, handler);
  }

  /** A service that gives way to whatever is handled or exposed under its name. */
  handleByDefault(name: string, handler: ServiceHandler): void {
    this.#defaults.set(name, handler);
  }

  /** @throws SallyportError `USAGE` where the name stands for something else already */
  expose(exposure: Exposure): void {
    this.#exposures = this.#withExposure(this.#exposures, exposure);
  }

  /** These instead of all before. @throws SallyportError `USAGE` where a name would stand for two things */
  exposeOnly(exposures: readonly Exposure[]): void {
    this.#exposures = exposures.reduce<readonly Exposure[]>(
      (before, exposure) => this.#withExposure(before, exposure),
      [],
    );
  }

  /** Takes a stream that a peer opened to where it may go. */
  serve(session: Session, stream: SessionStream, purpose: StreamPurpose): void {
    const served: Served = { session, purpose, destination: undefined };
    this.#served.set(stream, served);
    stream.on('close', this.#onClose);
    serveStream({
      stream,
      purpose,
      datagrams: session.datagrams,
      allow: () => this.#admit(served),
      handle: (name) => (this.#handlers.get(name) ?? this.#defaults.get(name))?.(stream, session),
      pipe: () => this.pipe?.(),
      listen: (request) => this.#listeners.listen(request, stream, session),
      record: (state, reason) => {
        if (state === 'refused') this.#forget(stream, served);
        this.#tell(stream, served, state, reason);
      },
    });
  }

  /** Resets the streams that would not be allowed any more. */
  enforce(): void {
    for (const [stream, served] of this.#served) {
      try {
        const now = this.#authorize(served);
        if (served.destination && !sameDestination(served.destination, now))
          throw new SallyportError('NOT_AUTHORIZED', 'what this stream leads to is no longer exposed');
      } catch (thrown) {
        const { code, message } = asSallyportError(thrown);
        stream.reset(code, message);
      }
    }
  }

  #withExposure(before: readonly Exposure[], exposure: Exposure): Exposure[] {
    const exposures = withExposure(exposure, before);
    for (const name of this.#handlers.keys()) checkUnexposed(name, [exposure]);
    return exposures;
  }

  /** @throws SallyportError `LIMIT`, `NOT_AUTHORIZED`, `SERVICE_UNKNOWN` */
  #admit(served: Served): Destination {
    const destination = this.#authorize(served);
    if (destination.to === 'target' && !this.#connections.take(served.session.peer))
      throw new SallyportError('LIMIT', 'the other side has as many connections for this peer as it allows');
    return (served.destination = destination);
  }

  /** @throws SallyportError `NOT_AUTHORIZED`, `SERVICE_UNKNOWN` */
  #authorize({ session, purpose }: Served): Destination {
    const { peer, asked } = session;
    if (this.#allowList.isDenied(peer)) throw new SallyportError('NOT_AUTHORIZED', DENIED);
    return authorize(purpose, this.#allowList.grantOf(peer), {
      exposures: this.#exposures,
      handlers: new Set([...this.#handlers.keys(), ...this.#defaults.keys()]),
      pipe: this.pipe !== undefined,
      permits: this.permits,
      asked,
    });
  }

  #closed(stream: SessionStream): void {
    const served = this.#served.get(stream);
    if (!served) return;
    this.#forget(stream, served);
    this.#tell(stream, served, 'closed', stream.errored?.message);
  }

  #forget(stream: SessionStream, { session, destination }: Served): void {
    this.#served.delete(stream);
    if (destination?.to === 'target') this.#connections.giveBack(session.peer);
  }

  /** For the audit: who, what, when, bytes. */
  #tell(
    { bytesSent: sent, bytesReceived: received }: SessionStream,
    { session, purpose }: Served,
    state: StreamRecord['state'],
    reason?: string,
  ): void {
    this.#record({ peer: session.peer, what: purposeText(purpose), state, reason, sent, received });
  }
}
