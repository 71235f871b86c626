import { SallyportError } from './errors.ts';
import { isPeerId, type PeerId } from './identity.ts';

/** Where a rendezvous is, and what its join URL tells about it: `https://host[:port]#id=…&token=…`. */
export interface RendezvousUrl {
  /** The origin without a trailing slash, `https://host[:port]` or `http://host[:port]`. */
  readonly url: string;
  /** The deployment's own key, to be pinned. */
  readonly id?: PeerId | undefined;
  /** The join token. It lives in the fragment, which no HTTP client ever sends. */
  readonly token?: string | undefined;
}

/** @throws SallyportError `URL_INVALID` */
export function parseRendezvousUrl(text: string): RendezvousUrl {
  const url = parse(text);
  const fragment = new URLSearchParams(url.hash.slice(1));
  if ([...fragment.keys()].some((key) => key !== 'id' && key !== 'token'))
    throw invalid(text, 'its fragment holds something else than id and token');
  const id = fragment.get('id') ?? undefined;
  if (id !== undefined && !isPeerId(id)) throw invalid(text, 'its id is not a key');
  return { url: url.origin, id, token: fragment.get('token') ?? undefined };
}

export function formatRendezvousUrl({ url, id, token }: RendezvousUrl): string {
  const fields = [id && `id=${id}`, token && `token=${encodeURIComponent(token)}`].filter(Boolean);
  return fields.length > 0 ? `${url}#${fields.join('&')}` : url;
}

function parse(text: string): URL {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw invalid(text, 'it is not a URL');
  }
  if (url.protocol !== 'https:' && url.protocol !== 'http:') throw invalid(text, 'its scheme is not https');
  if (url.username || url.password || url.pathname !== '/' || url.search) {
    throw invalid(text, 'it has more than a host and a port');
  }
  if (url.hostname.length > 253) throw invalid(text, 'no host has so long a name');
  return url;
}

function invalid(text: string, why: string): SallyportError {
  const shown = text.replace(/#.*$/s, '').slice(0, 100); // the fragment may hold the token
  return new SallyportError(
    'URL_INVALID',
    `not a rendezvous or relay URL, ${why}: ${JSON.stringify(shown)}`,
    {
      hint: 'write https://host[:port], or http://host[:port] for a server started with --insecure',
    },
  );
}
