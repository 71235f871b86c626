import { addressBytes, canonicalAddress, scopeOf, type AddressScope } from '../src/core/address.ts';
import { SallyportError } from '../src/core/errors.ts';
import type { StreamPurpose } from '../src/core/protocol/open.ts';
import { printable } from '../src/core/remote-failure.ts';
import type { Grant } from './allow-list.ts';
import { permitted, type ListenPermit, type ListenRequest } from './listen-permit.ts';
import { parseDialTarget, targetText, type Target } from './target.ts';

/** What a peer lets others reach: a target under a name, or any TCP and UDP target at all. */
export type Exposure = { readonly name: string; readonly target: Target } | 'any';

/** Where a stream that was allowed goes. */
export type Destination =
  | { readonly to: 'handler'; readonly name: string }
  | {
      readonly to: 'target';
      readonly target: Target;
      /** False where only the resolved address can tell whether the target may be reached (`--expose any`). */
      readonly checked: boolean;
    }
  | { readonly to: 'listener'; readonly request: ListenRequest }
  | { readonly to: 'pipe' };

/** What the deciding side offers. */
export interface Offering {
  readonly exposures: readonly Exposure[];
  /** Names of the services that this process handles itself. */
  readonly handlers: ReadonlySet<string>;
  readonly pipe: boolean;
  readonly permits: readonly ListenPermit[];
  /** What we asked the peer to listen for, by the number of the stream that asked, and where it leads over here. */
  readonly asked: ReadonlyMap<number, Target>;
}

/** `[name=]host:port[/udp]`, `[name=]/path/of.sock` or `any`. @throws SallyportError `USAGE` */
export function parseExposure(text: string): Exposure {
  if (text === 'any') return 'any';
  const [, name, target] = /^(?:([a-zA-Z0-9][a-zA-Z0-9._-]{0,252})=)?(\/.*|[^=\s]+)$/.exec(text) ?? [];
  if (target === undefined) {
    throw new SallyportError('USAGE', `nothing that can be exposed: ${JSON.stringify(text)}`, {
      hint: 'write [name=]host:port, [name=]host:port/udp, [name=]/path/of.sock or any',
    });
  }
  return { name: name ?? target, target: parseDialTarget(target) };
}

/**
 * One more `--expose`. A name may stand for a TCP and a UDP target, but not for two of a kind: nobody would reach the second.
 * @throws SallyportError `USAGE`
 */
export function collectExposure(text: string, before: readonly Exposure[]): Exposure[] {
  return withExposure(parseExposure(text), before);
}

/** @throws SallyportError `USAGE` where the name stands for another target of that kind */
export function withExposure(exposure: Exposure, before: readonly Exposure[]): Exposure[] {
  if (exposure !== 'any') {
    const { name, target } = exposure;
    const isUdp = target.via === 'udp';
    const other = named(before, name, (via) => (via === 'udp') === isUdp);
    if (other && !sameTarget(other, target)) throw ambiguous(name, targetText(other), targetText(target));
  }
  return [...before, exposure];
}

/** @throws SallyportError `USAGE` where streams to the service `name` go to a target and would never reach a handler */
export function checkUnexposed(name: string, exposures: readonly Exposure[]): void {
  const target = named(exposures, name, (via) => via !== 'udp');
  if (target) throw ambiguous(name, targetText(target), 'a service in this process');
}

/**
 * The one place where a stream is allowed or refused, at the side that would dial or listen (docs/threat-model.md). A
 * target must equal an exposure; `any` admits every TCP and UDP target whose resolved address `mayDialAddress` admits.
 * What comes in where we asked the peer to listen goes where we said, whatever the peer is granted.
 * @param grant what the allow list grants the peer; `undefined` for one that isn't on it
 * @throws SallyportError `SERVICE_UNKNOWN`, `NOT_AUTHORIZED`
 */
export function authorize(purpose: StreamPurpose, grant: Grant | undefined, offering: Offering): Destination {
  if (purpose.for === 'accepted') return authorizeAccepted(purpose.listener, offering);
  if (!grant) throw new SallyportError('NOT_AUTHORIZED', 'this peer may not open streams here');
  switch (purpose.for) {
    case 'service':
      return authorizeService(purpose.name, grant, offering);
    case 'udp-service':
      return authorizeUdpService(purpose.name, grant, offering);
    case 'target':
      return authorizeTarget({ via: 'tcp', host: purpose.host, port: purpose.port }, grant, offering);
    case 'udp-target':
      return authorizeTarget({ via: 'udp', host: purpose.host, port: purpose.port }, grant, offering);
    case 'socket':
      return authorizeTarget({ via: 'unix', path: purpose.path }, grant, offering);
    case 'listen':
      return authorizeListener(purpose, grant, offering);
    case 'pipe':
      if (!granted(grant, 'pipe')) throw refusal('the pipe');
      if (!offering.pipe)
        throw new SallyportError('SERVICE_UNKNOWN', 'the other side offers no pipe', {
          hint: 'start it with: peer up --pipe',
        });
      return { to: 'pipe' };
    case 'updates':
      throw new SallyportError('PROTOCOL_ERROR', 'updates are no service');
  }
}

/** Whether a stream that was led to one would now be led to the other: a name may have come to stand for another target. */
export function sameDestination(a: Destination, b: Destination): boolean {
  return a.to === 'target' && b.to === 'target' ? sameTarget(a.target, b.target) : a.to === b.to;
}

/** Where `--expose any` never leads, whatever name resolved to it: metadata services and other link-local things. */
export function mayDialAddress(address: string): boolean {
  const refused: AddressScope[] = ['unspecified', 'link-local', 'multicast', 'reserved'];
  return !refused.includes(scopeOf(address)) && !isMetadata(address);
}

function isMetadata(address: string): boolean {
  const start = Buffer.from(addressBytes(address)).toString('hex', 0, 4);
  return METADATA.has(canonicalAddress(address)) || METADATA_NETWORKS.has(start);
}

/** Where clouds tell a machine its secrets, beyond the link-local 169.254.169.254: Alibaba, Azure, Oracle, Scaleway. */
const METADATA = new Set(['100.100.100.200', '168.63.129.16', '192.0.0.192', 'fd00:42::42']);
/** The first 32 bits of whole networks of such services: fd00:ec2::/32 (AWS), fd20:ce::/32 (Google). */
const METADATA_NETWORKS = new Set(['fd000ec2', 'fd2000ce']);

function granted(grant: Grant, name: string): boolean {
  return grant === 'all' || grant.has(name);
}

function authorizeService(name: string, grant: Grant, { exposures, handlers }: Offering): Destination {
  // First, so that a peer which may not use a service doesn't learn whether there is one.
  if (!granted(grant, name)) throw refusal(name);
  const target = named(exposures, name, (via) => via !== 'udp');
  if (target) return { to: 'target', target, checked: true };
  if (!handlers.has(name)) throw unknownService(name);
  return { to: 'handler', name };
}

function authorizeUdpService(name: string, grant: Grant, { exposures }: Offering): Destination {
  if (!granted(grant, name)) throw refusal(`${name}/udp`);
  const target = named(exposures, name, (via) => via === 'udp');
  if (!target) throw unknownService(`${name}/udp`);
  return { to: 'target', target, checked: true };
}

/** One name may stand for a TCP and a UDP target, as with a name server. */
function named(
  exposures: readonly Exposure[],
  name: string,
  fits: (via: Target['via']) => boolean,
): Target | undefined {
  const found = exposures.find((each) => each !== 'any' && each.name === name && fits(each.target.via));
  return found === undefined || found === 'any' ? undefined : found.target;
}

function authorizeTarget(target: Target, grant: Grant, { exposures }: Offering): Destination {
  for (const exposure of exposures) {
    if (exposure === 'any' || !sameTarget(exposure.target, target)) continue;
    if (granted(grant, exposure.name)) return { to: 'target', target, checked: true };
  }
  // A Unix socket is often the key to its whole machine: it has to be named.
  if (target.via !== 'unix' && exposures.includes('any') && granted(grant, 'any'))
    return { to: 'target', target, checked: false };
  throw refusal(printable(targetText(target)));
}

function sameTarget(a: Target, b: Target): boolean {
  if (a.via === 'unix') return b.via === 'unix' && a.path === b.path;
  return a.via === b.via && a.host === b.host && a.port === b.port;
}

function authorizeListener(request: ListenRequest, grant: Grant, offering: Offering): Destination {
  const { transport, bind, port } = request;
  const found = permitted({ transport, bind, port }, offering.permits);
  if (!granted(grant, 'listen') || !found) {
    const where = bind.includes(':') ? `[${bind}]:${port}` : `${bind}:${port}`;
    throw new SallyportError('NOT_AUTHORIZED', `the other side doesn't let this peer listen on ${where}`, {
      hint: 'there: peer up --permit-listen [bind:]port',
    });
  }
  return { to: 'listener', request: found };
}

function authorizeAccepted(listener: number, { asked }: Offering): Destination {
  const target = asked.get(listener);
  if (!target) throw new SallyportError('NOT_AUTHORIZED', 'nobody here asked for this to be listened for');
  return { to: 'target', target, checked: true };
}

function ambiguous(name: string, one: string, other: string): SallyportError {
  return new SallyportError('USAGE', `${JSON.stringify(name)} would stand for both ${one} and ${other}`, {
    hint: 'give each a name of its own',
  });
}

function unknownService(name: string): SallyportError {
  return new SallyportError('SERVICE_UNKNOWN', `the other side exposes no service ${JSON.stringify(name)}`);
}

function refusal(what: string): SallyportError {
  return new SallyportError('NOT_AUTHORIZED', `the other side doesn't expose ${what} to this peer`);
}
