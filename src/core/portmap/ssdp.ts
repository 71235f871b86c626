import { SallyportError } from '../errors.ts';

export const SSDP_PORT = 1900;
export const SSDP_GROUP = '239.255.255.250';

/** Longer answers aren't read. */
const MAX_ANSWER_BYTES = 2_048;

const SEARCH_TARGETS = [
  'urn:schemas-upnp-org:device:InternetGatewayDevice:1',
  'urn:schemas-upnp-org:device:InternetGatewayDevice:2',
];

/** Searches for an Internet Gateway Device (UPnP Device Architecture 1.1 §1.3.2), one datagram for each version. */
export function ssdpSearches(): string[] {
  return SEARCH_TARGETS.map((target) =>
    [
      'M-SEARCH * HTTP/1.1',
      `HOST: ${SSDP_GROUP}:${SSDP_PORT}`,
      'MAN: "ssdp:discover"',
      'MX: 1',
      `ST: ${target}`,
      '',
      '',
    ].join('\r\n'),
  );
}

/**
 * Where the gateway that answered keeps its description.
 * @throws SallyportError `PROTOCOL_ERROR` on anything else than an answer that names a place on the gateway itself
 */
export function readSsdpAnswer(bytes: Uint8Array, gateway: string): URL {
  if (bytes.length > MAX_ANSWER_BYTES) throw malformed('it is too long');
  const [status = '', ...headers] = Buffer.from(bytes).toString('latin1').split('\r\n');
  if (!/^HTTP\/1\.[01] 200\b/.test(status)) throw malformed('it is no answer to a search');
  const location = headers.find((header) => /^location:/i.test(header))?.slice('location:'.length);
  if (location === undefined) throw malformed('it names no description');
  return gatewayUrl(location.trim(), gateway);
}

/**
 * A URL that leads to `gateway`, over http: nothing that a router says can make us talk to another host.
 * @param base what a relative URL starts from
 * @throws SallyportError `PROTOCOL_ERROR`
 */
export function gatewayUrl(text: string, gateway: string, base?: string): URL {
  const url = text.length <= MAX_URL && URL.canParse(text, base) ? new URL(text, base) : undefined;
  if (url?.protocol !== 'http:' || url.hostname !== gateway || url.username !== '' || url.password !== '') {
    throw malformed('it names a place that is not on the router itself');
  }
  return url;
}

const MAX_URL = 512;

function malformed(reason: string): SallyportError {
  return new SallyportError('PROTOCOL_ERROR', `UPnP answer not understood: ${reason}`);
}
