import { constants } from 'node:crypto';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect, createSecureContext, TLSSocket } from 'node:tls';
import type { ConnectionOptions, SecureContext, TlsOptions, TLSSocketOptions } from 'node:tls';
import { SallyportError } from '../core/errors.ts';
import type { PathKeys } from '../core/session/keys.ts';
import { handshakeError, pipeStep } from './step.ts';
import type { StepOptions } from './step.ts';
import { checkTag, dropTag, readTag } from './tag.ts';

export interface SecureOptions extends StepOptions {
  /** The session's initiator is the TLS client on every path, whoever dialled. */
  role: 'client' | 'server';
  keys: PathKeys;
  /** The other end's tag, where an acceptor has already taken it from the pipe with `readTag`. */
  tag?: Uint8Array | undefined;
  /** Our own tag was written already, with what opened the pipe. @default false */
  tagSent?: boolean | undefined;
}

/**
 * Exchanges tags and runs TLS 1.3 with the external PSK (RFC 8446 §4.2.11) over any pipe; resolves once the other end has proven
 * the key. `timeoutMs` counts for each of the two steps. Fails with `HANDSHAKE_FAILED`, `TIMEOUT` or `ABORTED`, and then destroys the pipe.
 *
 * On a `net.Socket` TLS runs on the kernel handle, so the tag is awaited first (half a round trip more); on any other pipe the
 * client's tag and ClientHello leave in one flight.
 */
export async function secure(pipe: Duplex, options: SecureOptions): Promise<TLSSocket> {
  pipe.allowHalfOpen = true; // TLS copies it when it attaches
  if (options.role === 'client' && options.tag === undefined && !(pipe instanceof Socket)) {
    dropTag(pipe, options.keys);
    pipe.cork();
    if (!options.tagSent) pipe.write(options.keys.tagOut);
    const secured = handshake(pipe, options);
    pipe.uncork();
    return secured;
  }
  if (!options.tagSent) pipe.write(options.keys.tagOut);
  const tag = options.tag ?? (await readTag(pipe, options));
  try {
    checkTag(tag, options.keys);
  } catch (error) {
    pipe.destroy();
    throw error;
  }
  return handshake(pipe, options);
}

function handshake(pipe: Duplex, options: SecureOptions): Promise<TLSSocket> {
  return pipeStep(pipe, 'the TLS handshake', options, ({ resolve, reject }) => {
    const { socket, pskUsed } = attach(pipe, options);
    const confirm = (): void => {
      if (pskUsed()) resolve(socket);
      else
        reject(new SallyportError('HANDSHAKE_FAILED', 'the path was not authenticated by the session key'));
    };
    const refuse = (cause: Error): void => reject(handshakeError(cause, KEYS_DIFFER));
    const ended = (): void => reject(new SallyportError('HANDSHAKE_FAILED', KEYS_DIFFER));
    // 'secure' is emitted by either end; 'secureConnect' only by the client, after its certificate check.
    socket.once(options.role === 'client' ? 'secureConnect' : 'secure', confirm);
    socket.on('error', refuse).on('close', ended);
    return () => socket.off('error', refuse).off('close', ended);
  });
}

/** Puts TLS on the pipe. `pskUsed` tells whether this very handshake asked for our key and ran on it. */
function attach(pipe: Duplex, options: SecureOptions): { socket: TLSSocket; pskUsed: () => boolean } {
  const { psk, identity } = options.keys;
  let asked = false;
  const pskUsed = (): boolean => asked && socket.isSessionReused() && socket.getProtocol() === 'TLSv1.3';
  const shared = { secureContext: context(options.role), highWaterMark: HIGH_WATER_MARK };
  const clientOptions: ConnectionOptions = {
    ...shared,
    socket: pipe,
    checkServerIdentity: () => undefined,
    pskCallback: () => {
      asked = true;
      return { psk, identity };
    },
  };
  const serverOptions: TLSSocketOptions & Pick<TlsOptions, 'pskCallback'> = {
    ...shared,
    isServer: true,
    pskCallback: (_socket: TLSSocket, shown: string) => {
      asked = shown === identity;
      return asked ? psk : null;
    },
  };
  const socket = options.role === 'client' ? connect(clientOptions) : new TLSSocket(pipe, serverOptions);
  socket.on('error', () => {}); // a failed path is told by the promise, later by 'close'
  return { socket, pskUsed };
}

/** One context per role serves every path: keys are per connection, certificates do not exist. */
function context(role: 'client' | 'server'): SecureContext {
  contexts[role] ??= createSecureContext({
    minVersion: 'TLSv1.3',
    ciphers: 'TLS_AES_128_GCM_SHA256',
    // No authority is trusted: a certificate instead of the key must not pass.
    ca: [],
    // Tickets would let a connection resume without asking for the key (RFC 8446 §4.6.1).
    secureOptions: role === 'server' ? constants.SSL_OP_NO_TICKET : 0,
  });
  return contexts[role];
}

const contexts: { client?: SecureContext; server?: SecureContext } = {};

const KEYS_DIFFER = 'the two ends of the path do not hold the same session key';

/** Bytes that TLS accepts before asking the writer to wait; Node's 16 KiB is one TLS record. */
const HIGH_WATER_MARK = 256 * 1024;
