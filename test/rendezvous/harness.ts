import { createHash } from 'node:crypto';
import type { Endpoint } from '../../src/core/endpoint.ts';
import { identityFromSeed, type Identity } from '../../src/core/identity.ts';
import type { Instant } from '../../src/core/machine.ts';
import { signAuth, tokenProof } from '../../src/core/protocol/auth.ts';
import type { MessageTo, NodeRole, ToNode, ToRendezvous } from '../../src/core/protocol/rendezvous.ts';
import { encodeSuccessions, successionsTo } from '../../src/core/succession.ts';
import { Registry } from '../../rendezvous/registry.ts';
import type {
  ConnectionId,
  RegistryInput,
  RegistryOptions,
  RegistryOutput,
} from '../../rendezvous/registry-events.ts';

/** The same bytes for the same words. */
export function bytes(words: string, length: number): Uint8Array {
  return new Uint8Array(createHash('sha512').update(words).digest().subarray(0, length));
}

export function identity(name: string): Identity {
  return identityFromSeed(bytes(name, 32));
}

export const DEPLOYMENT = identity('deployment');

/** A registry in virtual time, with everything that it has sent so far sorted by connection. */
export class RegistryWorld {
  now: Instant = 1_000_000;
  readonly registry: Registry;
  readonly sent = new Map<ConnectionId, ToNode[]>();
  readonly closed = new Map<ConnectionId, string | undefined>();
  readonly probed: ConnectionId[] = [];
  #connections = 0;
  #random = 0;

  constructor(options: Partial<RegistryOptions> = {}) {
    this.registry = new Registry({
      deployment: DEPLOYMENT,
      token: undefined,
      stun: { udp: [{ address: '', port: 3478 }], tcp: [{ address: '', port: 3478 }] },
      builtInRelay: { id: DEPLOYMENT.id, url: '', stunUdp: [], stunTcp: [] },
      random: (length) => bytes(`random ${this.#random++}`, length),
      ...options,
    });
  }

  input(input: RegistryInput): void {
    this.registry.handle(input, this.now);
    this.#drain();
  }

  advance(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      const due = this.registry.deadline;
      if (due === undefined || due > end) break;
      this.now = Math.max(this.now, due);
      this.registry.handleTimeout(this.now);
      this.#drain();
    }
    this.now = end;
  }

  connect(exporter = new Uint8Array(0), address = '203.0.113.7'): ConnectionId {
    const connection = this.#connections++;
    const observed = { address, port: 4_000 + connection };
    this.input({ type: 'connected', connection, arrival: { observed, exporter } });
    return connection;
  }

  /** Messages of one kind that went to a connection. */
  received<Name extends ToNode['t']>(connection: ConnectionId, name: Name): MessageTo<ToNode, Name>[] {
    const messages = this.sent.get(connection) ?? [];
    return messages.filter((message): message is MessageTo<ToNode, Name> => message.t === name);
  }

  #drain(): void {
    for (let output = this.registry.poll(); output; output = this.registry.poll()) this.#note(output);
  }

  #note(output: RegistryOutput): void {
    if (output.type === 'send') {
      this.sent.set(output.connection, [...(this.sent.get(output.connection) ?? []), output.message]);
    } else if (output.type === 'close') this.closed.set(output.connection, output.error?.code);
    else if (output.type === 'probe') this.probed.push(output.connection);
  }
}

export interface NodeOptions {
  readonly role?: NodeRole;
  readonly boot?: string;
  readonly instance?: string;
  readonly secret?: string;
  readonly name?: string;
  readonly token?: string;
  readonly version?: number;
  /** Where it connects from. */
  readonly address?: string | undefined;
  /** Whose place it takes, oldest first, by their own word. */
  readonly after?: readonly string[];
  /** A chain that it shows instead. */
  readonly claims?: Uint8Array;
  /** A relay's. */
  readonly url?: string;
  /** Where a relay says that its STUN servers are. */
  readonly stun?: Endpoint[];
}

/** A node that registers as it should, unless its test spoils something. */
export class TestNode {
  readonly world: RegistryWorld;
  readonly identity: Identity;
  readonly options: NodeOptions;
  readonly instance: Uint8Array;
  connection: ConnectionId;

  constructor(world: RegistryWorld, name: string, options: NodeOptions = {}) {
    this.world = world;
    this.identity = identity(name);
    this.options = options;
    this.instance = bytes(`instance ${options.instance ?? name}`, 16);
    this.connection = world.connect(undefined, options.address);
  }

  send(message: ToRendezvous): void {
    this.world.input({ type: 'message', connection: this.connection, message });
  }

  hello(): void {
    const { role = 'listen', boot = 'boot', name, version = 1, stun = [] } = this.options;
    const { url = 'https://relay.example' } = this.options;
    const relay = { url, stunUdp: stun, stunTcp: stun };
    const { claims = encodeSuccessions(this.#chain.successions) } = this.options;
    this.send({
      t: 'hello',
      version,
      id: this.identity.publicKey,
      role,
      nonce: bytes('nonce', 32),
      boot: bytes(boot, 16),
      instance: this.instance,
      name,
      ...(claims.length > 0 && { successions: claims }),
      ...(role === 'relay' && { relay }),
    });
  }

  auth(spoil: Partial<MessageTo<ToRendezvous, 'auth'>> = {}): void {
    const { role = 'listen', secret = 'secret', token } = this.options;
    const { nonce } = this.world.received(this.connection, 'challenge').at(-1)!;
    const context = { deployment: DEPLOYMENT.id, nonce, role, exporter: new Uint8Array(0) };
    this.send({
      t: 'auth',
      signature: signAuth(this.identity, context),
      secret: bytes(secret, 16),
      proof: token === undefined ? undefined : tokenProof(token, this.identity.id, context),
      ...spoil,
    });
  }

  /** Itself, as its successions lead to it. */
  get #chain(): Identity {
    const names = this.options.after ?? [];
    let before: Identity | undefined;
    for (const next of [...names.map(identity), this.identity]) {
      before = before ? { ...next, successions: successionsTo(next.id, before, this.world.now) } : next;
    }
    return before!;
  }

  register(): this {
    this.hello();
    this.auth();
    return this;
  }

  /** Comes back by a new connection, with the same instance. */
  reconnect(): this {
    this.connection = this.world.connect(undefined, this.options.address);
    return this.register();
  }

  disconnect(): void {
    this.world.input({ type: 'disconnected', connection: this.connection });
  }

  /** Gives its connection up as dead. */
  abandon(): void {
    this.world.input({ type: 'abandoned', connection: this.connection });
  }

  received<Name extends ToNode['t']>(name: Name): MessageTo<ToNode, Name>[] {
    return this.world.received(this.connection, name);
  }

  get registered(): boolean {
    return this.received('registered').length > 0 && !this.world.closed.has(this.connection);
  }

  /** The codes of all errors it was sent. */
  get errors(): string[] {
    return this.received('error').map(({ code }) => code);
  }

  offer(to: TestNode | string, session = 'session'): Uint8Array {
    const id = bytes(session, 16);
    const target = typeof to === 'string' ? to : to.identity.publicKey;
    this.send({ t: 'offer', session: id, to: target, noise: bytes('noise 1', 48) });
    return id;
  }

  answer(to: TestNode, session: Uint8Array): void {
    const { publicKey } = to.identity;
    this.send({ t: 'answer', session, to: publicKey, instance: to.instance, noise: bytes('noise 2', 48) });
  }
}
