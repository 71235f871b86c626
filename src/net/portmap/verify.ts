import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { equalBytes } from '../../core/bytes.ts';
import type { Endpoint } from '../../core/endpoint.ts';
import type { Attestation } from '../../core/punch/candidate.ts';
import { deliveryId, deliveryTag } from '../../core/stun/delivery.ts';
import { StunFramer } from '../../core/stun/framing.ts';
import { bindingRequest, readResponse, type StunCredentials } from '../../core/stun/request.ts';
import type { Clock } from '../clock.ts';
import type { DatagramPort } from '../discover-udp.ts';
import { dialTcp } from '../tcp.ts';

/** The endpoint at which the deployment's server reached us, in its own signed words. */
export interface Proof {
  readonly endpoint: Endpoint;
  readonly attestation: Attestation;
}

interface VerifyOptions {
  readonly server: Endpoint;
  readonly credentials: StunCredentials;
  /** The port that the router leads here. */
  readonly port: number;
  readonly clock: Clock;
}

/** Has the server answer to the mapped UDP port; `undefined` where nothing comes of it. */
export async function verifyUdp(
  datagrams: DatagramPort,
  { server, credentials, port, clock }: VerifyOptions,
): Promise<Proof | undefined> {
  const request = requestFor(credentials, port);
  const cancels: (() => void)[] = [];
  let onDatagram: (bytes: Buffer) => void = () => {};
  const proof = await new Promise<Proof | undefined>((resolve) => {
    onDatagram = (bytes) => {
      const found = isAnswerTo(request, bytes) ? proofIn(bytes, credentials, port) : undefined;
      if (found) resolve(found);
    };
    datagrams.on('datagram', onDatagram);
    for (const delay of TRANSMISSIONS_MS) {
      cancels.push(clock.setTimer(() => datagrams.send(request, server), delay));
    }
    cancels.push(clock.setTimer(() => resolve(undefined), ANSWER_MS));
  });
  datagrams.off('datagram', onDatagram);
  for (const cancel of cancels) cancel();
  return proof;
}

/** Hands over connections that begin with that tag; returns how to stop it. */
export type AcceptTagged = (tag: Uint8Array, accept: (socket: Socket) => void) => () => void;

/** Has the server dial the mapped TCP port; `undefined` where nothing comes of it. */
export async function verifyTcp(
  accept: AcceptTagged,
  { server, credentials, port, clock }: VerifyOptions,
): Promise<Proof | undefined> {
  const request = requestFor(credentials, port);
  let stop = () => {};
  let cancel = () => {};
  let asking: Socket | undefined;
  const proof = new Promise<Proof | undefined>((resolve) => {
    cancel = clock.setTimer(() => resolve(undefined), TCP_ANSWER_MS);
    stop = accept(deliveryTag(request), (socket) => {
      void messageFrom(socket).then((bytes) => {
        const isAnswer = bytes && equalBytes(bytes.subarray(8, 20), deliveryId(request.subarray(8, 20)));
        resolve(isAnswer ? proofIn(bytes, credentials, port) : undefined);
      });
    });
  });
  try {
    asking = await dialTcp({ remote: server, timeoutMs: TCP_ANSWER_MS });
    asking.write(request);
    return await proof;
  } catch {
    return undefined; // the server can't be asked: nothing is known
  } finally {
    asking?.destroy();
    stop();
    cancel();
  }
}

function requestFor(credentials: StunCredentials, port: number): Uint8Array {
  return bindingRequest(new Uint8Array(randomBytes(12)), credentials, { responsePort: port });
}

function isAnswerTo(request: Uint8Array, bytes: Uint8Array): boolean {
  return Buffer.compare(request.subarray(8, 20), bytes.subarray(8, 20)) === 0;
}

/** The server names the address that it saw; it answered to our port there. */
function proofIn(bytes: Uint8Array, credentials: StunCredentials, port: number): Proof | undefined {
  const response = readResponse(bytes, credentials);
  if (!response?.mapped || !response.attestation) return undefined;
  return { endpoint: { address: response.mapped.address, port }, attestation: response.attestation };
}

/** The one STUN message that a connection carries; `undefined` where it carries something else. */
function messageFrom(socket: Socket): Promise<Uint8Array | undefined> {
  const framer = new StunFramer();
  return new Promise((resolve) => {
    const end = (message?: Uint8Array) => {
      socket.destroy();
      resolve(message);
    };
    socket.setTimeout(ANSWER_MS, () => end());
    socket.on('close', () => end());
    socket.on('data', (chunk) => {
      try {
        const [message] = framer.push(chunk);
        if (message) end(Uint8Array.from(message));
      } catch {
        end();
      }
    });
  });
}

const TRANSMISSIONS_MS = [0, 200, 600];
const ANSWER_MS = 1_500;
const TCP_ANSWER_MS = 3_000;
