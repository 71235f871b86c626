import { SallyportError } from './errors.ts';

/** What a peer may register as: a label of a host name (RFC 1123 §2.1), in lower case. */
export const PEER_NAME = /^[a-z0-9][a-z0-9-]{0,62}$/;

/** @throws SallyportError `USAGE` */
export function parsePeerName(text: string): string {
  if (PEER_NAME.test(text)) return text;
  throw new SallyportError('USAGE', `not a name for a peer: ${JSON.stringify(text)}`, {
    hint: 'a name has up to 63 lower-case letters, digits and hyphens; an id is 52 of a–z and 2–7',
  });
}
