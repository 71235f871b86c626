import { networkInterfaces, uptime } from 'node:os';
import { canonicalAddress, familyOfAddress, scopeOf, sourceOf } from '../core/address.ts';
import type { AddressScope, Family } from '../core/address.ts';
import type { Instant } from '../core/machine.ts';
import { systemClock, type Clock } from './clock.ts';

/** An address of this host that another computer may be able to reach: the base of a host candidate (RFC 8445 §5.1.1.1). */
export interface HostAddress {
  /** Canonical text. */
  address: string;
  family: Family;
  scope: AddressScope;
  /** The system's name of the interface. */
  interface: string;
}

/** Every usable address, in the system's order: without loopback, link-local and the bridges of containers and virtual machines on this host. */
export function hostAddresses(): HostAddress[] {
  const found = new Map<string, HostAddress>();
  for (const [name, entries] of Object.entries(systemInterfaces())) {
    if (INNER_BRIDGE.test(name)) continue;
    for (const entry of entries ?? []) {
      const address = canonicalAddress(entry.address);
      const scope = scopeOf(address);
      if (entry.internal || !USABLE.has(scope) || found.has(address)) continue;
      found.set(address, { address, family: familyOfAddress(address), scope, interface: name });
    }
  }
  recent = { at: systemClock.now(), addresses: [...found.values()] };
  return recent.addresses;
}

/** The same, as it was within the last second: to look takes longer than anything else that each change of a session's candidates does. */
export function recentHostAddresses(): HostAddress[] {
  return systemClock.now() - recent.at < RECENT_MS ? recent.addresses : hostAddresses();
}

let recent: { at: Instant; addresses: HostAddress[] } = { at: -Infinity, addresses: [] };
let lastSeen: ReturnType<typeof networkInterfaces> = {};

/** The system is asked by a file of its own: where none can be opened, what it said last stands. */
function systemInterfaces(): ReturnType<typeof networkInterfaces> {
  try {
    lastSeen = networkInterfaces();
  } catch {
    // As good as unchanged; the next look comes soon.
  }
  return lastSeen;
}

/**
 * Of those, what is worth telling a peer: of the IPv6 addresses of one prefix (temporary and deprecated ones, RFC 8981)
 * only the one that the system sends from. That is the one that servers have seen, else the newest, which comes first.
 * The likeliest to lead to the peer are first, by turns of both families. A peer takes 20 candidates
 * and no more, and some come later in a round.
 * @param seen addresses of ours that servers have seen
 */
export function advertisedAddresses(
  addresses: readonly HostAddress[],
  seen: readonly string[],
): HostAddress[] {
  const best = new Map<string, HostAddress>();
  for (const each of addresses.filter(({ family }) => family === 6)) {
    const prefix = sourceOf(each.address);
    if (!best.has(prefix) || seen.includes(each.address)) best.set(prefix, each);
  }
  const over6 = tunnelsLast([...best.values()]).slice(0, ADVERTISED_IPV6);
  const over4 = tunnelsLast(addresses.filter(({ family }) => family === 4)).slice(0, ADVERTISED_IPV4);
  return over4
    .flatMap((each, index) => [each, ...over6.slice(index, index + 1)])
    .concat(over6.slice(over4.length));
}

/** They are told all the same: two peers may share a VPN. */
function tunnelsLast(addresses: readonly HostAddress[]): HostAddress[] {
  const isInner = ({ interface: name, scope }: HostAddress) => scope !== 'public' && INNER_LINK.test(name);
  return addresses.toSorted((a, b) => Number(isInner(a)) - Number(isInner(b)));
}

/**
 * `clock`: the time of day was set, or a virtual machine was held up and has been told the time since; nothing else
 * tells the one from the other.
 */
export type NetworkChange = 'addresses' | 'route' | 'wake' | 'clock';

export interface WatchOptions {
  clock: Clock;
  /** Default 3,000. */
  everyMs?: number | undefined;
  /** What is watched; a test hands in its own. */
  addresses?: (() => HostAddress[]) | undefined;
  /** The address that packets leave from, one for each family, where that is known: the default route may move while all addresses stay. */
  sources?: readonly (() => Promise<string | undefined>)[] | undefined;
  /** Milliseconds since the computer was started, which go on while it sleeps; the monotonic clock stops. */
  upClock?: (() => number) | undefined;
  /** The time of day in milliseconds, which may be set. */
  wallClock?: (() => number) | undefined;
}

/**
 * Calls `onChange` when the host's addresses change (another network, a cable, a VPN), when its packets leave by another one, or the
 * computer was, or may have been, asleep; then old mappings can't be trusted. Returns the function that ends the watch.
 */
export function watchNetwork(options: WatchOptions, onChange: (change: NetworkChange) => void): () => void {
  const { clock, everyMs = 3_000, addresses = hostAddresses, sources = [] } = options;
  const { upClock = () => 1_000 * uptime(), wallClock = Date.now } = options;
  let stopped = false;
  let leftFrom: readonly (string | undefined)[] = [];
  let known = fingerprint(addresses());
  let times = readClocks();
  let cancel = clock.setTimer(look, everyMs);

  function look(): void {
    cancel = clock.setTimer(look, everyMs);
    const current = fingerprint(addresses());
    const now = readClocks();
    const isFarFrom = (before: Instant, at: Instant) => at - before - everyMs > SLEEP_MS;
    const slept = isFarFrom(times.monotonic, now.monotonic) || isFarFrom(times.up, now.up);
    const wasSet = isFarFrom(times.wall, now.wall);
    const changed = current !== known;
    [known, times] = [current, now];
    if (changed) onChange('addresses');
    else if (slept) onChange('wake');
    else if (wasSet) onChange('clock');
    void lookAtSources(changed || slept);
  }

  function readClocks(): { monotonic: Instant; up: Instant; wall: Instant } {
    return { monotonic: clock.now(), up: upClock(), wall: wallClock() };
  }

  /** @param isTold of a change just now, which this is a part of */
  async function lookAtSources(isTold: boolean): Promise<void> {
    const found = await Promise.all(sources.map((source) => source()));
    const before = leftFrom;
    leftFrom = found.map((address, index) => address ?? before[index]);
    const hasMoved = leftFrom.some((address, i) => before[i] !== undefined && address !== before[i]);
    if (hasMoved && !isTold && !stopped) onChange('route');
  }
  return () => {
    stopped = true;
    cancel();
  };
}

function fingerprint(addresses: HostAddress[]): string {
  return addresses
    .map((each) => `${each.interface} ${each.address}`)
    .sort()
    .join('\n');
}

const RECENT_MS = 1_000;
/** Each costs the peer ten probes. */
const ADVERTISED_IPV6 = 3;
const ADVERTISED_IPV4 = 5;
const USABLE: ReadonlySet<AddressScope> = new Set(['private', 'shared', 'public']);
/** Bridges that lead nowhere but to guests of this host; their addresses are the same on every host. */
const INNER_BRIDGE = /^(docker\d|br-[0-9a-f]{12}$|virbr|lxcbr|lxdbr|podman|cni)/;
/** Links that lead to this host's own guests, or into a tunnel: what is behind them is seldom where the peer is. */
const INNER_LINK = /^(veth|vnet|vmnet|vboxnet|br-|tun|tap|utun|wg|tailscale|zt)/;
/** Longer than any pause of the event loop; a mapping that went unused so long may be gone. */
const SLEEP_MS = 8_000;
