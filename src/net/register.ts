import { randomBytes } from 'node:crypto';
import { lookup } from 'node:dns/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { canonicalAddress, familyOfAddress } from '../core/address.ts';
import type { Endpoint } from '../core/endpoint.ts';
import { SallyportError } from '../core/errors.ts';
import { peerIdOf, type Identity, type PeerId } from '../core/identity.ts';
import { LIMITS } from '../core/limits.ts';
import { signAuth, tokenProof, verifyChallenge, type AuthContext } from '../core/protocol/auth.ts';
import {
  helloHeaders,
  PROTOCOL_VERSION,
  type MessageTo,
  type NodeRole,
  type ToNode,
  type ToRendezvous,
} from '../core/protocol/rendezvous.ts';
import { remoteFailure, TAKE_JOIN_URL } from '../core/remote-failure.ts';
import { encodeSuccessions } from '../core/succession.ts';
import { MessageChannel } from './message-channel.ts';
import { connectOrigin, type Origin } from './origin.ts';
import { hostOf } from './proxy.ts';
import type { Attempting } from './race.ts';

type Hello = MessageTo<ToRendezvous, 'hello'>;

/** What a node says of itself when it registers. */
export interface Registrant {
  readonly identity: Identity;
  readonly role: NodeRole;
  /** 16 bytes, new at each start of the process. */
  readonly boot: Uint8Array;
  /** 16 bytes each: this registration, and the proof that a later one with the same instance is its return. */
  readonly instance: Uint8Array;
  readonly secret: Uint8Array;
  readonly name?: string | undefined;
  readonly relay?: { url: string; stunUdp: Endpoint[]; stunTcp: Endpoint[] } | undefined;
  readonly token?: string | undefined;
}

export interface RelayInfo {
  readonly id: PeerId;
  readonly url: string;
  /** Where it answers plain STUN requests over UDP, if anywhere. */
  readonly stun?: readonly Endpoint[] | undefined;
}

/** What the rendezvous grants, with every address filled in. */
export interface Grant {
  readonly deployment: PeerId;
  readonly leaseMs: number;
  /** The rendezvous's clock, milliseconds. */
  readonly time: number;
  /** The source of this connection as the rendezvous sees it. */
  readonly observed: Endpoint | undefined;
  readonly stun: {
    readonly username: string;
    readonly key: Uint8Array;
    readonly udp: readonly Endpoint[];
    readonly tcp: readonly Endpoint[];
  };
  /** The preferred one first. */
  readonly relays: readonly RelayInfo[];
}

export interface Registered {
  readonly channel: MessageChannel;
  readonly grant: Grant;
  /** To the rendezvous: what the upgrade took, milliseconds. */
  readonly roundTripMs: number;
}

/** A registration that was asked for: whatever follows by this channel is read behind it. */
export type Asked = Pick<Registered, 'channel' | 'roundTripMs'>;

/** A listener may have to wait until the rendezvous has pinged its predecessor. */
const REGISTRATION_MS = 2 * LIMITS.handshakeStepMs;
/** Where only the proxy resolves names, or the name has no IPv4 address, asking may take as long as the system likes. */
const RESOLVE_MS = 1_000;

/**
 * Connects and registers once. It is committed when it asks for the registration, having proven the node's key.
 * @param pinned the deployment's id, if it is known
 * @param onAsked told once the rendezvous was asked, before it answers
 * @throws SallyportError `RENDEZVOUS_UNREACHABLE`, `IDENTITY_CHANGED`, `TIMEOUT`, `PROTOCOL_ERROR`, or whatever code the rendezvous refuses with
 */
export async function register(
  origin: Origin,
  registrant: Registrant,
  pinned: PeerId | undefined,
  { signal, onCommit }: Attempting,
  onAsked: (asked: Asked) => void,
): Promise<Registered> {
  const connected = await connectOrigin(origin, ['http/1.1'], 'RENDEZVOUS_UNREACHABLE', signal);
  const { socket, exporter, proxied } = connected;
  const abandon = () => socket.destroy();
  signal.addEventListener('abort', abandon);
  if (signal.aborted) abandon();
  const url = new URL('/v1/signal', origin.url);
  const host = hostOver4(url, proxied ? undefined : socket.remoteAddress);
  const timeoutMs = origin.timeoutMs ?? LIMITS.handshakeStepMs;
  const hello = helloOf(registrant);
  const askedAt = performance.now();
  const channel = await MessageChannel.open(socket, url, timeoutMs, helloHeaders(hello));
  const roundTripMs = performance.now() - askedAt;
  try {
    // Once more: what is on the way may have kept the header to itself.
    channel.send(hello);
    const challenge = expect(await channel.receive(timeoutMs), 'challenge');
    const { deployment, auth } = answerTo(challenge, hello, registrant, pinned, exporter);
    onCommit();
    channel.send(auth);
    onAsked({ channel, roundTripMs });
    const registered = expect(await channel.receive(REGISTRATION_MS), 'registered');
    return { channel, grant: grantOf(registered, deployment, origin.url, await host), roundTripMs };
  } catch (error) {
    channel.abandon();
    throw error;
  } finally {
    signal.removeEventListener('abort', abandon);
  }
}

function helloOf({ identity, role, boot, instance, name, relay }: Registrant): Hello {
  const isNew = role === 'listen' && identity.successions.length > 0;
  const successions = isNew ? encodeSuccessions(identity.successions) : undefined;
  const nonce = new Uint8Array(randomBytes(32));
  const id = identity.publicKey;
  return { t: 'hello', version: PROTOCOL_VERSION, id, role, nonce, boot, instance, name, successions, relay };
}

/** Has the rendezvous prove its identity; what remains is to prove ours, and the rendezvous's consent. */
function answerTo(
  challenge: MessageTo<ToNode, 'challenge'>,
  { nonce }: Hello,
  { identity, role, secret, token }: Registrant,
  pinned: PeerId | undefined,
  exporter: Uint8Array,
): { deployment: PeerId; auth: MessageTo<ToRendezvous, 'auth'> } {
  const deployment = peerIdOf(challenge.id);
  if (pinned !== undefined && pinned !== deployment) throw identityChanged(pinned, deployment);
  const context: AuthContext = { deployment, nonce: challenge.nonce, role, exporter };
  if (!verifyChallenge(challenge.signature, { id: identity.id, nonce }, context)) {
    throw new SallyportError('IDENTITY_CHANGED', 'the rendezvous can’t prove the key that it claims', {
      hint: 'something stands between this host and the rendezvous, such as a proxy that opens TLS',
    });
  }
  const proof = token === undefined ? undefined : tokenProof(token, identity.id, context);
  if (challenge.admission === 'token' && !proof) {
    throw new SallyportError('TOKEN_INVALID', 'this rendezvous admits by join token', {
      hint: TAKE_JOIN_URL,
    });
  }
  const auth = { t: 'auth', signature: signAuth(identity, context), proof, secret } as const;
  return { deployment, auth };
}

function expect<Name extends ToNode['t']>(message: ToNode, name: Name): MessageTo<ToNode, Name> {
  if (message.t === name) return message as MessageTo<ToNode, Name>;
  if (message.t === 'error') throw refusal(message);
  if (message.t === 'restarting')
    throw new SallyportError('RENDEZVOUS_UNREACHABLE', 'the rendezvous is being restarted');
  throw new SallyportError('PROTOCOL_ERROR', `the rendezvous sent ${message.t} for ${name}`);
}

/** The typed failure in an `error` message. */
export function refusal({ code, message }: MessageTo<ToNode, 'error'>): SallyportError {
  return remoteFailure(code, message);
}

/** Fills in what the rendezvous can't know: the address and URL under which we reach it. */
function grantOf(
  registered: MessageTo<ToNode, 'registered'>,
  deployment: PeerId,
  url: string,
  host: string | undefined,
): Grant {
  const { leaseMs, time, observed, stun, relays } = registered;
  const fill = (endpoints: readonly Endpoint[]) =>
    endpoints.flatMap(({ address, port }) => {
      const named = address === '' ? host : address;
      return named === undefined ? [] : [{ address: canonicalAddress(named), port }];
    });
  return {
    deployment,
    leaseMs,
    time,
    observed,
    stun: { username: stun.username, key: stun.key, udp: fill(stun.udp), tcp: fill(stun.tcp) },
    relays: relayInfos(relays, url),
  };
}

export function relayInfos(
  relays: MessageTo<ToNode, 'relays'>['relays'],
  rendezvousUrl: string,
): RelayInfo[] {
  return relays.map(({ id, url, stun }) => ({
    id: peerIdOf(id),
    url: url === '' ? rendezvousUrl : url,
    stun,
  }));
}

/**
 * The rendezvous's address over IPv4, which is all that it leaves to be filled in. Behind a proxy, and over IPv6, only
 * the name is known; `undefined` where there is none, this network doesn't resolve names itself, or not in time.
 */
async function hostOver4(url: URL, reached: string | undefined): Promise<string | undefined> {
  const isOver4 = (address: string) => familyOfAddress(address) === 4;
  if (reached !== undefined && isOver4(canonicalAddress(reached))) return canonicalAddress(reached);
  try {
    const name = lookup(hostOf(url), { family: 4 });
    const found = await Promise.race([name, sleep(RESOLVE_MS, undefined, { ref: false })]);
    return found && isOver4(found.address) ? found.address : undefined;
  } catch {
    return undefined;
  }
}

function identityChanged(pinned: PeerId, shown: PeerId): SallyportError {
  return new SallyportError('IDENTITY_CHANGED', `the rendezvous shows another key, ${shown}, not ${pinned}`, {
    hint: 'if its operator has changed it, join again with the new join URL',
  });
}
