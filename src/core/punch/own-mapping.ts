import { equalBytes } from '../bytes.ts';
import { readResponse, type StunCredentials } from '../stun/request.ts';
import type { Candidate, Transport } from './candidate.ts';

/** Where a STUN server saw a port of ours, if `bytes` is its answer to the request of that transaction; else `undefined`. */
export function mappingIn(
  bytes: Uint8Array,
  transactionId: Uint8Array,
  transport: Transport,
  credentials: StunCredentials | undefined,
): Candidate | undefined {
  const response = readResponse(bytes, credentials);
  if (!response?.mapped || !equalBytes(response.transactionId, transactionId)) return undefined;
  const { mapped: endpoint, attestation } = response;
  return { type: 'srflx', transport, endpoint, attestation };
}
