import * as v from 'valibot';
import { isAddress } from '../address.ts';
import { base64url } from '../bytes.ts';
import { bytesOf, bytesUpTo, decode, encode, milliseconds } from '../codec.ts';
import { LIMITS } from '../limits.ts';
import { PEER_NAME } from '../peer-name.ts';
import { endpointSchema, portSchema } from '../punch/candidate.ts';
import { printable } from '../remote-failure.ts';
import { MAX_SUCCESSIONS_BYTES } from '../succession.ts';

/**
 * Signalling between a node (peer or relay) and the rendezvous: MessagePack maps over WebSocket, one message a
 * frame, `t` names it. Identities travel as their 32 bytes.
 *
 * ```
 * node                        rendezvous
 *   hello            ──▶
 *                    ◀──      challenge
 *   auth             ──▶
 *                    ◀──      registered                 lease, STUN servers, relays
 *   offer            ──▶                 ──▶ offer       noise message 1, ticket for the responder's leg
 *   answer           ◀──                 ◀── answer      noise message 2, ticket for the initiator's leg
 *   trickle          ◀─▶                 ◀─▶ trickle     sealed under the session's own keys
 * ```
 */
export const PROTOCOL_VERSION = 1;

/** The header of the upgrade request in which the first message travels ahead of its WebSocket, which saves a round trip. */
export const HELLO_HEADER = 'sallyport-hello';

/** The WebSocket close code (RFC 6455 §7.4.2) of a node that gives up a connection as dead: no evidence that it is gone itself. */
export const CLOSE_ABANDONED = 4000;

/** A longer one comes as a message alone: some servers on the way take headers of 4 KiB in all. */
const HEADER_BYTES = 1_024;

const id = bytesOf(32);
const session = bytesOf(16);
const instance = bytesOf(16);
const noise = bytesUpTo(LIMITS.noiseBytes);
const instant = milliseconds;
const code = v.pipe(v.string(), v.maxLength(40));
const text = v.pipe(v.string(), v.maxLength(300), v.transform(printable));
const url = v.pipe(
  v.string(),
  v.maxLength(300),
  v.check((text) => text === '' || (/^https?:/.test(text) && URL.canParse(text)), 'expected a URL'),
);
/** A chain as `encodeSuccessions` writes it. */
const successions = bytesUpTo(MAX_SUCCESSIONS_BYTES);
const tickets = v.pipe(v.array(bytesUpTo(256)), v.maxLength(2));

export type NodeRole = 'listen' | 'dial' | 'relay';

/** An empty address is that of whoever names it. */
const unnamed = v.object({ address: v.literal(''), port: portSchema });

const hello = v.object({
  t: v.literal('hello'),
  version: v.number(),
  id,
  role: v.picklist(['listen', 'dial', 'relay']),
  /** Fresh for each connection; the rendezvous signs it, so that a pinned deployment can't be impersonated. */
  nonce: bytesOf(32),
  /** New at each start of the process: tells a restart from a reconnect. */
  boot: bytesOf(16),
  /** Names this registration among those of the same id; a reconnect repeats it with the same `secret`. */
  instance,
  name: v.optional(v.pipe(v.string(), v.regex(PEER_NAME))),
  /** A listener's, which lead from its earlier ids to this one: who offers to one of those is told. */
  successions: v.optional(successions),
  /** A relay says where it takes circuits and where its STUN servers are; address `''` is where it connects from. */
  relay: v.optional(
    v.object({
      url: v.pipe(url, v.nonEmpty()),
      stunUdp: v.pipe(v.array(v.union([unnamed, endpointSchema])), v.maxLength(4)),
      stunTcp: v.pipe(v.array(v.union([unnamed, endpointSchema])), v.maxLength(4)),
    }),
  ),
});

const challenge = v.object({
  t: v.literal('challenge'),
  version: v.number(),
  /** The deployment's own key. */
  id,
  nonce: bytesOf(32),
  /** `signChallenge`: the deployment's own signature over both nonces. */
  signature: bytesOf(64),
  /** `open` admits everyone, `token` wants `proof` in auth. */
  admission: v.picklist(['open', 'token']),
});

const auth = v.object({
  t: v.literal('auth'),
  /** `authBytes` signed by the node. */
  signature: bytesOf(64),
  /** HMAC-SHA256(join token, the same bytes); the token itself is never sent. */
  proof: v.optional(bytesOf(32)),
  /** Proves that a reconnect is the same instance. */
  secret: bytesOf(16),
});

/** Address `''` stands for the host of the rendezvous's URL, over IPv4. */
const stunServers = v.pipe(
  v.array(
    v.object({
      address: v.pipe(
        v.string(),
        v.check((text) => text === '' || isAddress(text), 'not an address'),
      ),
      port: portSchema,
    }),
  ),
  v.maxLength(8),
);

/**
 * An empty `url` is a relay at the rendezvous's own URL. `stun` is where it answers STUN over UDP, to anybody and
 * without authentication.
 */
const relayInfo = v.object({
  id,
  url,
  stun: v.optional(v.pipe(v.array(endpointSchema), v.maxLength(LIMITS.stunServersPerRelay))),
});

const registered = v.object({
  t: v.literal('registered'),
  leaseMs: milliseconds,
  time: instant,
  /** The source of this signalling connection as the rendezvous sees it. */
  observed: v.optional(endpointSchema),
  stun: v.object({
    /** USERNAME and MESSAGE-INTEGRITY key for this registration's STUN requests. */
    username: v.pipe(v.string(), v.maxLength(64)),
    key: bytesOf(32),
    /** First the primary address's two ports, then the second address's. */
    udp: stunServers,
    tcp: stunServers,
  }),
  /** In the order in which tickets for offers to this node prefer them. */
  relays: v.pipe(v.array(relayInfo), v.maxLength(LIMITS.relaysPerDeployment)),
});

/** The deployment's relays have changed. */
const relays = v.object({
  t: v.literal('relays'),
  relays: v.pipe(v.array(relayInfo), v.maxLength(LIMITS.relaysPerDeployment)),
});

const ping = v.object({ t: v.literal('ping'), sent: instant });
const pong = v.object({ t: v.literal('pong'), sent: instant, time: instant });

const offer = v.object({
  t: v.literal('offer'),
  session,
  to: v.union([id, v.pipe(v.string(), v.maxLength(63))]),
  /** To this registration of the peer's, rather than to the one that listens: for a session that there is. */
  instance: v.optional(instance),
  noise,
  /** Asks for tickets for the offerer's leg at once, as `renewed`, and not only with the answer. */
  tickets: v.optional(v.boolean()),
});
const forwardedOffer = v.object({
  t: v.literal('offer'),
  session,
  from: id,
  instance,
  noise,
  /** The rendezvous's clock when it passed this on, and its signature (`offerAttestationParts`). */
  time: instant,
  signature: bytesOf(64),
  tickets,
});

const answer = v.object({ t: v.literal('answer'), session, to: id, instance, noise });
const forwardedAnswer = v.object({ t: v.literal('answer'), session, from: id, instance, noise, tickets });

const refuse = v.object({ t: v.literal('refuse'), session, to: id, instance, code });
const forwardedRefuse = v.object({ t: v.literal('refuse'), session, from: id, code });

const trickle = v.object({ t: v.literal('trickle'), session, to: id, instance, box: bytesUpTo(4_096) });
const forwardedTrickle = v.object({
  t: v.literal('trickle'),
  session,
  from: id,
  instance,
  box: bytesUpTo(4_096),
});

/** Fresh tickets for a session that lives on; `renewed` also comes to an offer that asked for tickets. */
const renew = v.object({ t: v.literal('renew'), session, peer: id, leg: v.picklist([0, 1]) });
const renewed = v.object({ t: v.literal('renewed'), session, tickets });

/** A name's owner; the asker pins the answer. */
const resolve = v.object({ t: v.literal('resolve'), name: v.pipe(v.string(), v.maxLength(63)) });
const resolved = v.object({
  t: v.literal('resolved'),
  name: v.pipe(v.string(), v.maxLength(63)),
  id: v.optional(id),
  /** Of earlier ids of that peer, one of which may be the one that was pinned. */
  successions: v.optional(successions),
});

/** The node leaves by itself: the lease ends at once. */
const bye = v.object({ t: v.literal('bye') });

/** `session` names that of the message that failed, `name` the look-up; without either the connection itself is refused. */
const error = v.object({
  t: v.literal('error'),
  code,
  message: text,
  session: v.optional(session),
  name: v.optional(v.pipe(v.string(), v.maxLength(63))),
  /** The peer that the offer was for is up under another id, to which its successions lead. */
  successor: v.optional(v.object({ id, successions })),
});
/** The peer of this session is gone for sure: its kernel closed the connection and it did not come back, or it restarted. */
const gone = v.object({ t: v.literal('gone'), from: id, instance });
const restarting = v.object({
  t: v.literal('restarting'),
  reconnectInMs: v.pipe(milliseconds, v.maxValue(60_000)),
});

const toRendezvous = v.variant('t', [hello, auth, ping, offer, answer, refuse, trickle, renew, resolve, bye]);
const toNode = v.variant('t', [
  challenge,
  registered,
  relays,
  pong,
  forwardedOffer,
  forwardedAnswer,
  forwardedRefuse,
  forwardedTrickle,
  renewed,
  resolved,
  error,
  gone,
  restarting,
]);

export type ToRendezvous = v.InferOutput<typeof toRendezvous>;
export type ToNode = v.InferOutput<typeof toNode>;
export type MessageTo<Side extends ToRendezvous | ToNode, Name extends Side['t']> = Extract<
  Side,
  { t: Name }
>;

/** @throws SallyportError `LIMIT`, `PROTOCOL_ERROR` */
export function decodeToRendezvous(bytes: Uint8Array): ToRendezvous {
  return decode(toRendezvous, bytes, LIMITS.controlMessageBytes);
}

/** @throws SallyportError `LIMIT`, `PROTOCOL_ERROR` */
export function decodeToNode(bytes: Uint8Array): ToNode {
  return decode(toNode, bytes, LIMITS.controlMessageBytes);
}

export function encodeMessage(message: ToRendezvous | ToNode): Uint8Array {
  return encode(message);
}

/** The header that says hello; none where that is too long for one. */
export function helloHeaders(hello: MessageTo<ToRendezvous, 'hello'>): Record<string, string> {
  const bytes = encodeMessage(hello);
  return bytes.length > HEADER_BYTES ? {} : { [HELLO_HEADER]: base64url(bytes) };
}
