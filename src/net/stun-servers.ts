import { randomBytes } from 'node:crypto';
import { lookup } from 'node:dns/promises';
import { equalBytes } from '../core/bytes.ts';
import { canonicalAddress, scopeOf } from '../core/address.ts';
import { parseHostPort, type Endpoint } from '../core/endpoint.ts';
import { SallyportError } from '../core/errors.ts';
import { bindingRequest, readResponse } from '../core/stun/request.ts';
import { REQUEST_SCHEDULE } from '../core/stun/transaction.ts';
import type { Clock } from './clock.ts';
import type { OpenDatagramPort } from './discover-udp.ts';
import type { PlainStunAccess } from './stun-access.ts';

export interface StunServerSearch {
  readonly openFresh: OpenDatagramPort;
  readonly clock: Clock;
}

/**
 * What these servers, `host` or `host:port`, can measure with: one with OTHER-ADDRESS (RFC 5780 §7.4) gives all its
 * four endpoints, else each that answers gives its one. Where UDP brings no answer at all, TCP may.
 * @throws SallyportError `USAGE` for what names no server
 */
export async function findStunServers(
  named: readonly string[],
  search: StunServerSearch,
): Promise<PlainStunAccess> {
  const endpoints = await Promise.all(named.map(resolve));
  const answers = await Promise.all(endpoints.map((endpoint) => askForOther(endpoint, search)));
  const found = answers.filter((answer) => answer !== undefined);
  const able = found.find(({ server, other }) => other && other.address !== server.address);
  const answering = found.length > 0 ? found.map(({ server }) => server) : endpoints;
  const servers = able?.other ? quartet(able.server, able.other) : answering;
  const firstFour = servers.slice(0, 4);
  return { udp: firstFour, tcp: firstFour, canChangeOrigin: able !== undefined };
}

/** No server shall make us ask hosts of our own network; and some, behind a NAT, name an address that is good only there. */
function quartet(server: Endpoint, other: Endpoint): Endpoint[] {
  const four = [
    server,
    { address: server.address, port: other.port },
    { address: other.address, port: server.port },
    other,
  ];
  return four.filter(({ address }) => scopeOf(address) === scopeOf(server.address));
}

async function resolve(text: string): Promise<Endpoint> {
  const { host, port } = parseHostPort(/^[^:[\]]+$/.test(text) ? `${text}:${STUN_PORT}` : text);
  if (port === 0) throw new SallyportError('USAGE', `port 0 is no server's: ${JSON.stringify(text)}`);
  try {
    const { address } = await lookup(host, { family: 4 });
    return { address: canonicalAddress(address), port };
  } catch (cause) {
    throw new SallyportError('USAGE', `no IPv4 address for the STUN server ${JSON.stringify(host)}`, {
      hint: 'check the name; --stun takes host:port',
      cause,
    });
  }
}

interface Answer {
  readonly server: Endpoint;
  readonly other: Endpoint | undefined;
}

async function askForOther(
  server: Endpoint,
  { openFresh, clock }: StunServerSearch,
): Promise<Answer | undefined> {
  const socket = await openFresh();
  const transactionId = new Uint8Array(randomBytes(12));
  const request = bindingRequest(transactionId, undefined);
  const timers: (() => void)[] = [];
  try {
    return await new Promise<Answer | undefined>((settle) => {
      socket.on('datagram', (bytes) => {
        const reply = readResponse(bytes, undefined);
        if (!reply || !equalBytes(reply.transactionId, transactionId)) return;
        settle(reply.class === 'success' ? { server, other: reply.other } : undefined);
      });
      for (const ms of REQUEST_SCHEDULE) timers.push(clock.setTimer(() => socket.send(request, server), ms));
      timers.push(clock.setTimer(() => settle(undefined), PATIENCE_MS));
    });
  } finally {
    for (const cancel of timers) cancel();
    void socket.close();
  }
}

const STUN_PORT = 3478;
const PATIENCE_MS = 2_000;
