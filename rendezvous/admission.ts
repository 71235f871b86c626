import { SallyportError } from '../src/core/errors.ts';
import { peerIdOf } from '../src/core/identity.ts';
import { signChallenge, verifyAuth, verifyTokenProof, type AuthContext } from '../src/core/protocol/auth.ts';
import {
  PROTOCOL_VERSION,
  type MessageTo,
  type ToNode,
  type ToRendezvous,
} from '../src/core/protocol/rendezvous.ts';
import type { Arrival, RegistryOptions } from './registry-events.ts';

type Hello = MessageTo<ToRendezvous, 'hello'>;
type Auth = MessageTo<ToRendezvous, 'auth'>;
type Challenge = MessageTo<ToNode, 'challenge'>;

/** Answers a hello with a fresh nonce. @throws SallyportError `VERSION_UNSUPPORTED`, `PROTOCOL_ERROR` */
export function challenge(hello: Hello, arrival: Arrival, options: RegistryOptions): Challenge {
  if (hello.version !== PROTOCOL_VERSION) {
    throw new SallyportError('VERSION_UNSUPPORTED', `this rendezvous speaks version ${PROTOCOL_VERSION}`);
  }
  if ((hello.role === 'relay') !== (hello.relay !== undefined)) {
    throw new SallyportError('PROTOCOL_ERROR', 'a relay, and only a relay, says where it takes circuits');
  }
  const nonce = options.random(32);
  const node = { id: peerIdOf(hello.id), nonce: hello.nonce };
  const context = authContext(hello, nonce, arrival, options);
  return {
    t: 'challenge',
    version: PROTOCOL_VERSION,
    id: options.deployment.publicKey,
    nonce,
    signature: signChallenge(options.deployment, node, context),
    admission: tokenFor(hello, options) === undefined ? 'open' : 'token',
  };
}

/** @throws SallyportError `NOT_AUTHORIZED`, `TOKEN_INVALID` */
export function admit(
  hello: Hello,
  nonce: Uint8Array,
  auth: Auth,
  arrival: Arrival,
  options: RegistryOptions,
): void {
  const id = peerIdOf(hello.id);
  const context = authContext(hello, nonce, arrival, options);
  if (!verifyAuth(id, auth.signature, context)) {
    throw new SallyportError('NOT_AUTHORIZED', 'the signature is not by this peer id');
  }
  const token = tokenFor(hello, options);
  if (token === undefined) return;
  if (!auth.proof || !verifyTokenProof(token, auth.proof, id, context)) {
    const own = hello.role === 'relay' && options.relayToken !== undefined;
    const message = own
      ? 'this rendezvous admits relays by a token of their own, and this is another'
      : 'this rendezvous admits by another join token';
    throw new SallyportError('TOKEN_INVALID', message, { hint: 'ask its operator for it' });
  }
}

/** `undefined` where everybody is welcome. */
function tokenFor({ role }: Hello, { token, relayToken }: RegistryOptions): string | undefined {
  return role === 'relay' ? (relayToken ?? token) : token;
}

function authContext(
  hello: Hello,
  nonce: Uint8Array,
  arrival: Arrival,
  options: RegistryOptions,
): AuthContext {
  return { deployment: options.deployment.id, nonce, role: hello.role, exporter: arrival.exporter };
}
