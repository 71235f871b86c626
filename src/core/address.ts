import { SallyportError } from './errors.ts';

export type Family = 4 | 6;

/**
 * What kind of place an address names (IANA special-purpose registries, RFC 6890).
 * The documentation networks count as `public`, because laboratories stand on them.
 */
export type AddressScope =
  'unspecified' | 'loopback' | 'link-local' | 'private' | 'shared' | 'multicast' | 'reserved' | 'public';

export function familyOfAddress(address: string): Family {
  return address.includes(':') ? 6 : 4;
}

/**
 * One spelling for each address, so that no filter can be passed by writing it differently: every IPv6 embedding
 * of an IPv4 address (mapped, compatible, translated, 6to4, NAT64, Teredo, ISATAP) becomes that IPv4 address; a zone id
 * is dropped.
 * @throws SallyportError `USAGE` on anything that is not an address
 */
export function canonicalAddress(text: string): string {
  const bytes = parseAddress(text);
  if (!bytes) throw new SallyportError('USAGE', `not an IP address: ${JSON.stringify(text)}`);
  const embedded = bytes.length === 16 ? embeddedIPv4(bytes) : bytes;
  return embedded ? formatIPv4(embedded) : formatIPv6(bytes);
}

/** True when `text` is an IPv4 or IPv6 address, in any spelling. */
export function isAddress(text: string): boolean {
  return parseAddress(text) !== undefined;
}

/** 4 or 16 bytes. @throws SallyportError `USAGE` */
export function addressBytes(address: string): Uint8Array {
  const bytes = parseAddress(address);
  if (!bytes) throw new SallyportError('USAGE', `not an IP address: ${JSON.stringify(address)}`);
  return bytes;
}

/**
 * The canonical text of the address that a packet or connection came from. Only IPv4-mapped ones (::ffff:0:0/96, what a
 * dual-stack socket shows) become IPv4: whoever has an IPv6 network may choose any other embedding, and must not pass
 * for the IPv4 address in it.
 */
export function sourceAddress(text: string): string {
  const bytes = addressBytes(text);
  const isMapped = bytes.length === 16 && bytes.subarray(0, 10).every((byte) => byte === 0);
  if (isMapped && bytes[10] === 0xff && bytes[11] === 0xff) return formatIPv4(bytes.subarray(12));
  return formatAddress(bytes);
}

/** What one customer is given, for counting what comes from it: an IPv4 address, or the /64 of an IPv6 address. */
export function sourceOf(address: string): string {
  const bytes = addressBytes(sourceAddress(address));
  return Buffer.from(bytes.length === 4 ? bytes : bytes.subarray(0, 8)).toString('hex');
}

/** The text of 4 or 16 bytes. */
export function formatAddress(bytes: Uint8Array): string {
  return bytes.length === 4 ? formatIPv4(bytes) : formatIPv6(bytes);
}

/**
 * The scope of what the address leads to, embedded IPv4 addresses included. An embedding widens nothing: what is
 * link-local or multicast by its first bits stays that, and a public IPv4 address has the scope of what it is in.
 */
export function scopeOf(address: string): AddressScope {
  const bytes = addressBytes(address);
  if (bytes.length === 4) return scopeOfIPv4(bytes);
  const outer = scopeOfIPv6(bytes);
  const embedded = embeddedIPv4(bytes);
  if (!embedded || outer === 'link-local' || outer === 'multicast') return outer;
  const inner = scopeOfIPv4(embedded);
  return inner === 'public' ? outer : inner;
}

function scopeOfIPv4(bytes: Uint8Array): AddressScope {
  const [a, b] = [bytes[0]!, bytes[1]!];
  if (a === 0) return 'unspecified';
  if (a === 127) return 'loopback';
  if (a === 169 && b === 254) return 'link-local';
  if (a === 10 || (a === 172 && b >> 4 === 1) || (a === 192 && b === 168)) return 'private';
  if (a === 100 && b >> 6 === 1) return 'shared';
  if (a >> 4 === 14) return 'multicast';
  if (a >> 4 === 15 || (a === 192 && b === 0 && bytes[2] === 0)) return 'reserved';
  return 'public';
}

function scopeOfIPv6(bytes: Uint8Array): AddressScope {
  const [a, b] = [bytes[0]!, bytes[1]!];
  if (bytes.every((byte) => byte === 0)) return 'unspecified';
  if (bytes.subarray(0, 15).every((byte) => byte === 0) && bytes[15] === 1) return 'loopback';
  if (a === 0xfe && b >> 6 === 2) return 'link-local';
  if (a === 0xfe && b >> 6 === 3) return 'private'; // fec0::/10, site-local, deprecated
  if (a >> 1 === 0x7e) return 'private'; // fc00::/7, unique local
  if (a === 0xff) return 'multicast';
  return isReservedIPv6(bytes) ? 'reserved' : 'public';
}

/** Discard-only 100::/64, ORCHID 2001:10::/28 and 2001:20::/28, local NAT64 64:ff9b:1::/48, segment routing 5f00::/16. */
function isReservedIPv6(bytes: Uint8Array): boolean {
  const [a, b, c, d] = [0, 2, 4, 6].map((at) => (bytes[at]! << 8) | bytes[at + 1]!);
  if (a === 0x100) return b === 0 && c === 0 && d === 0;
  if (a === 0x2001) return b! >> 4 === 1 || b! >> 4 === 2;
  if (a === 0x64) return b === 0xff9b && c === 1;
  return a === 0x5f00;
}

/**
 * The IPv4 address inside ::ffff:0:0/96, ::/96, ::ffff:0:0:0/96 (RFC 2765), 2002::/16, 64:ff9b::/96, 2001::/32 (Teredo,
 * where it is inverted: RFC 4380 §4) and interface identifiers 0:5efe:… and 200:5efe:… (ISATAP, RFC 5214 §6.1).
 */
function embeddedIPv4(bytes: Uint8Array): Uint8Array | undefined {
  const zeros = (from: number, to: number) => bytes.subarray(from, to).every((byte) => byte === 0);
  const last = bytes.subarray(12);
  if (zeros(0, 8) && bytes[8] === 0xff && bytes[9] === 0xff && zeros(10, 12)) return last;
  if (bytes[0] === 0x20 && bytes[1] === 0x01 && zeros(2, 4)) return last.map((byte) => byte ^ 0xff);
  if ((bytes[8]! | 2) === 2 && bytes[9] === 0 && bytes[10] === 0x5e && bytes[11] === 0xfe) return last;
  if (zeros(0, 10) && bytes[10] === 0xff && bytes[11] === 0xff) return last;
  if (zeros(0, 12) && !(zeros(12, 15) && bytes[15]! <= 1)) return last;
  if (bytes[0] === 0x20 && bytes[1] === 0x02) return bytes.subarray(2, 6);
  if (bytes[0] === 0 && bytes[1] === 0x64 && bytes[2] === 0xff && bytes[3] === 0x9b && zeros(4, 12))
    return last;
  return undefined;
}

function parseAddress(text: string): Uint8Array | undefined {
  return text.includes(':') ? parseIPv6(text.replace(/%[^%\s]+$/, '')) : parseIPv4(text);
}

/** Four decimal numbers without leading zeros. By hand: every datagram brings an address. */
function parseIPv4(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(4);
  let [part, digits, value] = [0, 0, 0];
  for (let i = 0; i <= text.length; i++) {
    const code = i < text.length ? text.charCodeAt(i) : DOT;
    if (code === DOT) {
      if (digits === 0 || value > 255 || part === 4) return undefined;
      bytes[part++] = value;
      digits = value = 0;
      continue;
    }
    const digit = code - ZERO_DIGIT;
    if (digit < 0 || digit > 9 || digits === 3 || (digits > 0 && value === 0)) return undefined;
    value = 10 * value + digit;
    digits++;
  }
  return part === 4 ? bytes : undefined;
}

const DOT = 46;
const ZERO_DIGIT = 48;

function parseIPv6(text: string): Uint8Array | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const head = parseGroups(halves[0]!, halves.length === 1);
  const tail = halves.length === 2 ? parseGroups(halves[1]!, true) : [];
  if (!head || !tail) return undefined;
  const missing = 16 - head.length - tail.length;
  if (halves.length === 2 ? missing < 2 : missing !== 0) return undefined;
  return Uint8Array.from([...head, ...Array.from({ length: missing }, () => 0), ...tail]);
}

/** @param atEnd whether it is the address's end, where alone IPv4 may be written (RFC 4291 §2.2) */
function parseGroups(text: string, atEnd: boolean): number[] | undefined {
  if (text === '') return [];
  const bytes: number[] = [];
  const groups = text.split(':');
  for (const [index, group] of groups.entries()) {
    const mayBeDotted = atEnd && index === groups.length - 1;
    const dotted = mayBeDotted && group.includes('.') ? parseIPv4(group) : undefined;
    if (dotted) bytes.push(...dotted);
    else if (/^[0-9a-fA-F]{1,4}$/.test(group))
      bytes.push(parseInt(group, 16) >> 8, parseInt(group, 16) & 0xff);
    else return undefined;
  }
  return bytes;
}

function formatIPv4(bytes: Uint8Array): string {
  return bytes.join('.');
}

/** RFC 5952: lower case, no leading zeros, the longest run of zero groups shortened. */
function formatIPv6(bytes: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, i) => (bytes[2 * i]! << 8) | bytes[2 * i + 1]!);
  let [start, length] = [-1, 1];
  for (let i = 0; i < 8; i++) {
    let run = 0;
    while (i + run < 8 && groups[i + run] === 0) run++;
    if (run > length) [start, length] = [i, run];
  }
  const text = (part: number[]) => part.map((group) => group.toString(16)).join(':');
  if (start < 0) return text(groups);
  return `${text(groups.slice(0, start))}::${text(groups.slice(start + length))}`;
}
