// TLS 1.3 with the cipher and the kind of key that this project uses, end to end over whatever pipe.
import { once } from 'node:events';
import { connect, createSecureContext, TLSSocket } from 'node:tls';

const secureContext = createSecureContext({ minVersion: 'TLSv1.3', ciphers: 'TLS_AES_128_GCM_SHA256' });
const psk = Buffer.alloc(32, 1);
const shared = { secureContext, highWaterMark: 256 * 1024 };

/** @param {import('node:stream').Duplex} pipe @param {'client' | 'server'} role */
export function overTls(pipe, role) {
  if (role === 'server') return new TLSSocket(pipe, { ...shared, isServer: true, pskCallback: () => psk });
  return connect({
    ...shared,
    socket: pipe,
    pskCallback: () => ({ psk, identity: 'bench' }),
    checkServerIdentity: () => undefined,
  });
}

/** What `variant` asks for: `tls` or the bare pipe. */
export async function dialled(pipe, variant) {
  if (variant !== 'tls') return pipe;
  const socket = overTls(pipe, 'client');
  await once(socket, 'secureConnect');
  return socket;
}

export function accepted(pipe, variant) {
  return variant === 'tls' ? overTls(pipe, 'server') : pipe;
}
