import type { Duplex } from 'node:stream';
import { hex } from '../src/core/bytes.ts';
import { checkOptions } from '../src/core/check-options.ts';
import { SallyportError } from '../src/core/errors.ts';
import type { PeerId } from '../src/core/identity.ts';
import { LIMITS } from '../src/core/limits.ts';
import {
  decodePurpose,
  encodePurpose,
  isServiceName,
  type StreamPurpose,
} from '../src/core/protocol/open.ts';
import type { Verdict } from '../src/core/punch/verdict.ts';
import type { PathChoice } from '../src/core/punch/situation.ts';
import type { PathEvent, PathId, PathInfo, PathKind, SessionEnd } from '../src/core/session/events.ts';
import { PROCESS_SEND_BUDGET, PROCESS_WINDOW_BUDGET } from '../src/core/session/limits.ts';
import { SendBudget } from '../src/core/session/send-budget.ts';
import { WindowBudget } from '../src/core/session/window.ts';
import type { SessionKeys } from '../src/core/session/keys.ts';
import { otherRole, type SessionRole } from '../src/core/session/role.ts';
import type { Clock } from '../src/net/clock.ts';
import { deferred } from '../src/net/deferred.ts';
import { Emitter } from '../src/net/emitter.ts';
import { SessionDriver } from '../src/net/session-driver.ts';
import type { SessionStream } from '../src/net/session-stream.ts';
import { pingOptions, waitingOptions, whenDirectOptions } from './check-options.ts';
import type { CircuitPath } from './circuit-keeper.ts';
import type { Target } from './target.ts';
import { SessionDatagrams, type MessagePort } from './session-datagrams.ts';
import type { TraceLine } from './trace.ts';
import type { DirectPath } from './traversal.ts';

/** A path as events and `session.paths` show it (docs/operations.md, "Output for scripts"). */
export interface PathReport {
  readonly kind: PathKind;
  readonly direct: boolean;
  readonly state: 'up' | 'active' | 'down';
  readonly local: string | undefined;
  readonly remote: string | undefined;
  readonly technique: string | undefined;
  readonly rttMs: number | undefined;
  readonly reason: string | undefined;
}

/** One line of the traversal trace; `at`: milliseconds since the session began. */
export type TraceEntry = TraceLine & {
  readonly at: number;
  readonly packets: number;
  readonly elapsedMs: number;
};

export interface SessionEvents {
  /** A path came up, became the one that this end sends on, or went down. */
  path: [path: PathReport];
  /** The peer opened a stream. */
  stream: [stream: SessionStream, purpose: StreamPurpose];
  /** A secured path was handed to the session: it can be used from here on. */
  attached: [];
  /** The peer's own news of its network come on this stream. */
  updates: [stream: SessionStream];
  trace: [entry: TraceEntry];
  /** A round of punching ended without a direct path, for these reasons. */
  relayed: [why: Verdict];
  closed: [end: SessionEnd];
}

/** What every call takes that waits for the other end. */
export interface WaitOptions {
  signal?: AbortSignal | undefined;
}

export interface SessionOptions {
  readonly role: SessionRole;
  readonly id: Uint8Array;
  readonly peer: PeerId;
  readonly keys: SessionKeys;
  /** The kinds of path that both ends allow. */
  readonly kinds: readonly PathChoice[];
  readonly clock: Clock;
}

const TRACE_LINES = 500;
/** How long a path may take to show that the peer is there. */
const ALIVE_PING_MS = 4_000;

const ONLY_RELAY: Verdict = { code: 'NOT_ALLOWED', text: 'only the relay is allowed', obstacles: [] };

/** All sessions of this process share them: what they may promise to buffer, and what they hold to be sent, is bounded together. */
const budgets = {
  budget: new WindowBudget(PROCESS_WINDOW_BUDGET),
  sendBudget: new SendBudget(PROCESS_SEND_BUDGET),
};

/** Two peers, one conversation: its streams stay while its paths come and go. */
export class Session extends Emitter<SessionEvents> {
  readonly id: string;
  readonly peer: PeerId;
  readonly role: SessionRole;
  readonly kinds: readonly PathChoice[];
  /** @internal */
  readonly driver: SessionDriver;
  /** @internal Unreliable ones, where a path by UDP is up. */
  readonly datagrams: SessionDatagrams;
  /** @internal What this end has asked the peer to listen for, by the number of the stream that asked, and where it leads here. */
  readonly asked = new Map<number, Target>();
  #clock: Clock;
  #began: number;
  #reports = new Map<number, PathReport>();
  #trace: TraceEntry[] = [];
  #relayedBecause: Verdict | undefined;

  /** @internal */
  constructor({ role, id, peer, keys, kinds, clock }: SessionOptions) {
    super();
    this.setMaxListeners(0); // one for each call that waits for a path
    this.id = hex(id);
    this.peer = peer;
    this.role = role;
    this.kinds = kinds;
    this.#clock = clock;
    this.#began = clock.now();
    if (!kinds.some((kind) => kind !== 'relay')) this.#relayedBecause = ONLY_RELAY;
    const [sealer, opener] = [keys.datagramSealer(role), keys.datagramOpener(otherRole(role))];
    this.datagrams = new SessionDatagrams(sealer, opener, clock);
    this.driver = new SessionDriver({ role, sessionId: id, clock, ...budgets });
    this.driver.on('check', (path) => this.datagrams.check(path));
    this.datagrams.onAnswered = (path) => this.driver.answered(path);
    this.datagrams.onSilence = (path) => this.driver.question(path);
    this.driver.on('path', (event) => this.#onPath(event));
    this.driver.on('stream', (stream, header) => this.#onStream(stream, header));
    this.driver.on('closed', (end) => this.emit('closed', end));
  }

  /** The path that this end sends on; `undefined` while there is none. */
  get path(): PathReport | undefined {
    const path = this.driver.activePath;
    return path && (this.#reports.get(path.id) ?? report(path, 'active', path.rttMs));
  }

  /** Every path that is up. */
  get paths(): PathReport[] {
    return [...this.#reports.values()];
  }

  /** What was tried to get a direct path, and what came of it. */
  get trace(): readonly TraceEntry[] {
    return this.#trace;
  }

  /** Why the session isn't direct, once that is known: a code, and the same in words with what would change it. */
  get relayedBecause(): Verdict | undefined {
    return this.#relayedBecause;
  }

  /** How the session ended; `undefined` while it lives. */
  get end(): SessionEnd | undefined {
    return this.driver.end;
  }

  /**
   * Opens a stream to a service of the peer's. It can be written to at once; if the peer refuses, it fails with
   * `SERVICE_UNKNOWN`, `NOT_AUTHORIZED` or `TARGET_REFUSED`.
   * @throws SallyportError `USAGE`, `SESSION_CLOSED`, `LIMIT`, `ABORTED`
   */
  async open(service: string, options: WaitOptions = {}): Promise<SessionStream> {
    checkOptions(waitingOptions, options);
    if (!isServiceName(service))
      throw new SallyportError('USAGE', `not the name of a service: ${JSON.stringify(service)}`, {
        hint: 'give one of 1 to 253 characters',
      });
    return this.openPurpose({ for: 'service', name: service }, options);
  }

  /** Opens a stream to a service, an exposed target, or the peer's pipe. */
  async openPurpose(purpose: StreamPurpose, { signal }: WaitOptions = {}): Promise<SessionStream> {
    return this.driver.open(encodePurpose(purpose), { signal });
  }

  /**
   * One round trip on the path in use, within `timeout` milliseconds; `timeoutMs` is an older name of that.
   * @throws SallyportError `USAGE`, `NO_PATH`, `TIMEOUT`, `ABORTED`, `SESSION_CLOSED`
   */
  async ping(
    options: WaitOptions & { timeout?: number | undefined; timeoutMs?: number | undefined } = {},
  ): Promise<{
    rttMs: number;
    path: PathReport;
  }> {
    checkOptions(pingOptions, options);
    const { timeout, timeoutMs = timeout, signal } = options;
    const { rttMs, path } = await this.driver.ping({ timeoutMs, signal });
    return { rttMs, path: this.#reports.get(path.id) ?? report(path, 'up', rttMs) };
  }

  /** @internal Whether the peer's process lives, as far as a path can tell. */
  async answers(): Promise<boolean> {
    return this.ping({ timeoutMs: ALIVE_PING_MS }).then(
      () => true,
      () => false,
    );
  }

  /**
   * Resolves with the direct path once the session is on one.
   * @throws SallyportError `USAGE`, `NO_PATH` with the reason when punching failed, `TIMEOUT`, `SESSION_CLOSED`, `ABORTED`
   */
  async whenDirect(options: WaitOptions & { timeout?: number | undefined } = {}): Promise<PathReport> {
    checkOptions(whenDirectOptions, options);
    const { timeout = 30_000, signal } = options;
    const { promise, resolve, reject } = deferred<PathReport>();
    const look = () => {
      if (this.path?.direct) resolve(this.path);
    };
    const relayed = ({ text }: Verdict) => reject(new SallyportError('NO_PATH', `no direct path: ${text}`));
    const closed = () => reject(new SallyportError('SESSION_CLOSED', 'the session is closed'));
    if (this.#relayedBecause?.code === 'NOT_ALLOWED') relayed(this.#relayedBecause);
    const aborted = () => reject(new SallyportError('ABORTED', 'no longer waited for a direct path'));
    const cancel = this.#clock.setTimer(
      () =>
        reject(
          new SallyportError('TIMEOUT', `no direct path within ${timeout} ms`, {
            hint: this.#relayedBecause?.text,
          }),
        ),
      timeout,
    );
    this.on('path', look).on('relayed', relayed).on('closed', closed);
    signal?.addEventListener('abort', aborted);
    look();
    if (this.end) closed();
    if (signal?.aborted) aborted();
    try {
      return await promise;
    } finally {
      cancel();
      signal?.removeEventListener('abort', aborted);
      this.off('path', look).off('relayed', relayed).off('closed', closed);
    }
  }

  /** Lets ended streams finish and tells the peer; aborting that closes at once. */
  async close(options: WaitOptions = {}): Promise<void> {
    checkOptions(waitingOptions, options);
    const { signal } = options;
    const abort = () => this.driver.destroy();
    signal?.addEventListener('abort', abort);
    const closed = this.driver.close();
    if (signal?.aborted) abort();
    await closed;
    signal?.removeEventListener('abort', abort);
  }

  /** @internal */
  addDirectPath({ kind, pipe, local, remote, technique, lan, rttMs, abandon, messages }: DirectPath): void {
    this.#add({ kind, direct: true, local, remote, technique, lan, rttMs }, pipe, abandon, messages);
  }

  /** @internal */
  addCircuit({ kind, pipe, remote }: CircuitPath): void {
    this.#add({ kind, direct: false, remote, technique: 'relay circuit' }, pipe);
  }

  /** @internal The paths of the keys before are given up: the peer has given up its ends of them. */
  renew(keys: SessionKeys): void {
    for (const { id } of this.driver.paths) this.driver.removePath(id, 'the session goes on with new keys');
    this.driver.setEpoch(keys.epoch);
    this.datagrams.rekey(keys.datagramSealer(this.role), keys.datagramOpener(otherRole(this.role)));
    const text = `all paths were lost; the session goes on with the keys of epoch ${keys.epoch}`;
    this.note({ stage: 'keys', text });
  }

  /** @internal */
  note({ transport, stage, text, packets = 0, elapsedMs = 0 }: TraceLine): void {
    const at = Math.round(this.#clock.now() - this.#began);
    const entry = { at, transport, stage, text, packets, elapsedMs: Math.round(elapsedMs) };
    if (this.#trace.push(entry) > TRACE_LINES) this.#trace.shift();
    this.emit('trace', entry);
  }

  /** @internal */
  punchingFailed(why: Verdict): void {
    this.#relayedBecause = why;
    this.emit('relayed', why);
  }

  #add(info: Omit<PathInfo, 'id'>, pipe: Duplex, abandon?: () => void, messages?: MessagePort): void {
    if (this.end || !this.kinds.includes(choiceOf(info.kind))) {
      pipe.destroy();
      return;
    }
    const path = this.driver.addPath(info, pipe, abandon);
    if (messages) this.datagrams.addPath(path, messages);
    if (info.direct) this.#leaveOldest(path);
    this.emit('attached');
  }

  /** Where there are too many direct paths: the oldest but for the newest and the one in use. */
  #leaveOldest(newest: PathId): void {
    const direct = this.driver.paths.filter((path) => path.direct);
    if (direct.length <= LIMITS.directPaths) return;
    const inUse = this.driver.activePath?.id;
    const oldest = direct.find(({ id }) => id !== newest && id !== inUse);
    if (oldest) this.driver.removePath(oldest.id, 'there are too many direct paths');
  }

  #onPath({ path, state, reason, rttMs }: PathEvent): void {
    const told = report(path, state, rttMs, reason);
    if (state === 'active' && path.direct) this.#relayedBecause = undefined;
    if (state === 'active') {
      for (const [id, other] of this.#reports) {
        if (other.state === 'active') this.#reports.set(id, { ...other, state: 'up' });
      }
    }
    if (state === 'down') this.datagrams.pathDown(path.id);
    else this.datagrams.pathUp(path.id);
    if (state === 'down') this.#reports.delete(path.id);
    else this.#reports.set(path.id, told);
    this.emit('path', told);
  }

  #onStream(stream: SessionStream, header: Uint8Array): void {
    try {
      const purpose = decodePurpose(header);
      if (purpose.for === 'updates') this.emit('updates', stream);
      else this.emit('stream', stream, purpose);
    } catch (thrown) {
      stream.on('error', () => {});
      stream.destroy(thrown as SallyportError);
    }
  }
}

function choiceOf(kind: PathKind): PathChoice {
  return kind === 'udp' || kind === 'tcp' ? kind : 'relay';
}

function report(
  path: PathInfo,
  state: PathReport['state'],
  rttMs: number | undefined,
  reason?: string,
): PathReport {
  const { kind, direct, local, remote, technique } = path;
  return {
    kind,
    direct,
    state,
    local,
    remote,
    technique,
    rttMs: rttMs && Math.round(rttMs * 10) / 10,
    reason,
  };
}
