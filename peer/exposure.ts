import { canonicalAddress, scopeOf, type AddressScope } from '../src/core/address.ts';
import { parseHostPort } from '../src/core/endpoint.ts';
import { SallyportError } from '../src/core/errors.ts';
import type { StreamPurpose } from '../src/core/protocol/open.ts';
import type { Grant } from './allow-list.ts';

/** What a peer lets others reach: a TCP target under a name, or any target at all. */
export type Exposure = { readonly name: string; readonly host: string; readonly port: number } | 'any';

/** Where a stream that was allowed goes. */
export type Destination =
  | { readonly to: 'handler'; readonly name: string }
  | { readonly to: 'target'; readonly host: string; readonly port: number; readonly checked: boolean }
  | { readonly to: 'pipe' };

/** What the deciding side offers. */
export interface Offering {
  readonly exposures: readonly Exposure[];
  /** Names of the services that this process handles itself. */
  readonly handlers: ReadonlySet<string>;
  readonly pipe: boolean;
}

/** `[name=]host:port` or `any`. @throws SallyportError `USAGE`, `UNSUPPORTED` */
export function parseExposure(text: string): Exposure {
  if (text === 'any') return 'any';
  const match = /^(?:([a-zA-Z0-9][a-zA-Z0-9._-]*)=)?([^=\s]+)$/.exec(text);
  const target = match?.[2] ?? '';
  if (target.endsWith('/udp')) {
    throw new SallyportError('UNSUPPORTED', `UDP targets are not carried yet: ${text}`, {
      hint: 'expose a TCP target',
    });
  }
  const { host, port } = parseHostPort(target);
  if (host === '' || port === 0) {
    throw new SallyportError('USAGE', `not a target: ${JSON.stringify(text)}`, {
      hint: 'write [name=]host:port',
    });
  }
  return { name: match?.[1] ?? target, host, port };
}

/**
 * The one place where a stream is allowed or refused, at the side that would dial (docs/threat-model.md). A target must
 * equal an exposure; `any` admits every target whose resolved address `mayDialAddress` admits.
 * @throws SallyportError `SERVICE_UNKNOWN`, `NOT_AUTHORIZED`
 */
export function authorize(purpose: StreamPurpose, grant: Grant, offering: Offering): Destination {
  switch (purpose.for) {
    case 'service':
      return authorizeService(purpose.name, grant, offering);
    case 'target':
      return authorizeTarget(purpose.host, purpose.port, grant, offering);
    case 'pipe':
      if (grant !== 'all' && !grant.has('pipe')) throw refusal('the pipe');
      if (!offering.pipe)
        throw new SallyportError('SERVICE_UNKNOWN', 'the other side offers no pipe', {
          hint: 'start it with: peer up --pipe',
        });
      return { to: 'pipe' };
    case 'updates':
      throw new SallyportError('PROTOCOL_ERROR', 'updates are no service');
  }
}

/** Where `--expose any` never leads, whatever name resolved to it: metadata services and other link-local things. */
export function mayDialAddress(address: string): boolean {
  const refused: AddressScope[] = ['unspecified', 'link-local', 'multicast', 'reserved'];
  return !refused.includes(scopeOf(address)) && !METADATA.has(canonicalAddress(address));
}

/** Where clouds tell a machine its secrets, beyond the link-local 169.254.169.254: Alibaba, AWS by IPv6, Azure, Oracle. */
const METADATA = new Set(['100.100.100.200', 'fd00:ec2::254', '168.63.129.16', '192.0.0.192']);

function authorizeService(name: string, grant: Grant, { exposures, handlers }: Offering): Destination {
  const exposed = exposures.find((exposure) => exposure !== 'any' && exposure.name === name);
  // First, so that a peer which may not use a service doesn't learn whether there is one.
  if (grant !== 'all' && !grant.has(name)) throw refusal(name);
  if (!handlers.has(name) && !exposed) {
    throw new SallyportError('SERVICE_UNKNOWN', `the other side exposes no service ${JSON.stringify(name)}`);
  }
  if (exposed && exposed !== 'any')
    return { to: 'target', host: exposed.host, port: exposed.port, checked: true };
  return { to: 'handler', name };
}

function authorizeTarget(host: string, port: number, grant: Grant, { exposures }: Offering): Destination {
  for (const exposure of exposures) {
    if (exposure === 'any' || exposure.host !== host || exposure.port !== port) continue;
    if (grant === 'all' || grant.has(exposure.name)) return { to: 'target', host, port, checked: true };
  }
  if (exposures.includes('any') && (grant === 'all' || grant.has('any')))
    return { to: 'target', host, port, checked: false };
  throw refusal(`${host}:${port}`);
}

function refusal(what: string): SallyportError {
  return new SallyportError('NOT_AUTHORIZED', `the other side doesn't expose ${what} to this peer`, {
    hint: 'there: peer up --expose host:port',
  });
}
