import type { Endpoint } from '../../src/core/endpoint.ts';
import type { Instant } from '../../src/core/machine.ts';
import type { Flow } from './flow.ts';
import type { Behavior } from './nat-behavior.ts';

/** One translation: an internal endpoint and the external one that stands for it (RFC 4787 §4.1). */
export interface Mapping {
  readonly internal: Endpoint;
  readonly external: Endpoint;
  expires: Instant;
  readonly flows: Map<Endpoint, Flow>;
  /** Until when each remote address may send, whatever its port: address-dependent filtering. */
  readonly addresses: Map<string, Instant>;
}

/** What a mapping is found by besides the internal endpoint; depends on the mapping behaviour. */
type Scope = Endpoint | string;

const ANYWHERE = '*';

/** Picks the external endpoint for a new mapping. */
export type Allocate = (internal: Endpoint) => Endpoint;

export interface TableRules {
  readonly mapping: Behavior;
  readonly filtering: Behavior;
  /** How long a stray that connection tracking accepted blocks its tuple; 0 where strays leave no state. */
  readonly strayMs: number;
}

/**
 * The mappings of one NAT for one transport. Pure apart from itself: it is told the time, allocates through a
 * function, and forgets what has expired when it next meets it. Endpoints are compared by identity.
 */
export class MappingTable {
  readonly #rules: TableRules;
  readonly #allocate: Allocate;
  readonly #byInternal = new Map<Endpoint, Map<Scope, Mapping>>();
  readonly #byExternal = new Map<Endpoint, Mapping>();
  readonly #strays = new Map<Endpoint, Map<Endpoint, Instant>>();

  constructor(rules: TableRules, allocate: Allocate) {
    this.#rules = rules;
    this.#allocate = allocate;
  }

  /** The live mapping that a packet from inside uses; `undefined` when it would need a new one. */
  find(internal: Endpoint, remote: Endpoint, now: Instant): Mapping | undefined {
    const scopes = this.#byInternal.get(internal);
    return live(scopes?.get(remote), now) ?? live(scopes?.get(this.#scope(remote)), now);
  }

  /** The mapping for a packet from inside, made where there is none or where an accepted stray holds its tuple. */
  findOrCreate(internal: Endpoint, remote: Endpoint, now: Instant): Mapping {
    const mapping = this.find(internal, remote, now) ?? this.#create(internal, this.#scope(remote), now);
    const isOpen = (mapping.flows.get(remote)?.expires ?? 0) > now;
    if (isOpen || !this.#isStray(mapping.external, remote, now)) return mapping;
    return this.#create(internal, remote, now);
  }

  /** The mapping whose filter lets a packet from outside in; `undefined` for a stray. */
  admit(external: Endpoint, remote: Endpoint, now: Instant): Mapping | undefined {
    const mapping = this.holder(external, now);
    return mapping !== undefined && this.#permits(mapping, remote, now) ? mapping : undefined;
  }

  /** The live mapping of an external endpoint, whoever asks. */
  holder(external: Endpoint, now: Instant): Mapping | undefined {
    return live(this.#byExternal.get(external), now);
  }

  /** The flow to a remote endpoint, made where it is new; answers from inside then keep to this mapping. */
  flow(mapping: Mapping, remote: Endpoint): Flow {
    let flow = mapping.flows.get(remote);
    if (flow === undefined) {
      flow = { expires: 0, state: 'none', reset: false };
      mapping.flows.set(remote, flow);
      this.#byInternal.get(mapping.internal)?.set(remote, mapping);
    }
    return flow;
  }

  /** Outbound traffic keeps the mapping, and its filter for this remote, until `expires`. */
  refresh(mapping: Mapping, remote: Endpoint, expires: Instant): void {
    mapping.expires = Math.max(mapping.expires, expires);
    mapping.addresses.set(remote.address, Math.max(mapping.addresses.get(remote.address) ?? 0, expires));
  }

  /** Connection tracking remembers a stray that the router itself took in. */
  acceptStray(external: Endpoint, remote: Endpoint, now: Instant): void {
    if (this.#rules.strayMs === 0) return;
    let remotes = this.#strays.get(external);
    if (remotes === undefined) this.#strays.set(external, (remotes = new Map<Endpoint, Instant>()));
    remotes.set(remote, now + this.#rules.strayMs);
  }

  flush(): void {
    this.#byInternal.clear();
    this.#byExternal.clear();
    this.#strays.clear();
  }

  #scope(remote: Endpoint): Scope {
    switch (this.#rules.mapping) {
      case 'endpoint-independent':
        return ANYWHERE;
      case 'address-dependent':
        return remote.address;
      case 'address-and-port-dependent':
        return remote;
    }
  }

  #permits(mapping: Mapping, remote: Endpoint, now: Instant): boolean {
    switch (this.#rules.filtering) {
      case 'endpoint-independent':
        return true;
      case 'address-dependent':
        return (mapping.addresses.get(remote.address) ?? 0) > now;
      case 'address-and-port-dependent':
        return (mapping.flows.get(remote)?.expires ?? 0) > now;
    }
  }

  #isStray(external: Endpoint, remote: Endpoint, now: Instant): boolean {
    return (this.#strays.get(external)?.get(remote) ?? 0) > now;
  }

  /** A new mapping, never before its first refresh looked up again, so that it starts without a lifetime. */
  #create(internal: Endpoint, scope: Scope, now: Instant): Mapping {
    const mapping: Mapping = {
      internal,
      external: this.#allocate(internal),
      expires: now,
      flows: new Map<Endpoint, Flow>(),
      addresses: new Map<string, Instant>(),
    };
    let scopes = this.#byInternal.get(internal);
    if (scopes === undefined) this.#byInternal.set(internal, (scopes = new Map<Scope, Mapping>()));
    scopes.set(scope, mapping);
    this.#byExternal.set(mapping.external, mapping);
    return mapping;
  }
}

function live(mapping: Mapping | undefined, now: Instant): Mapping | undefined {
  return mapping !== undefined && mapping.expires > now ? mapping : undefined;
}
