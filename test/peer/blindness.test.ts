import { once } from 'node:events';
import { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { addressBytes } from '../../src/core/address.ts';
import { encodeMessage } from '../../src/core/protocol/rendezvous.ts';
import { OPEN } from '../../src/core/protocol/standing-leg.ts';
import type { PathChoice } from '../../src/core/punch/situation.ts';
import type { Candidate } from '../../src/core/punch/candidate.ts';
import { Handshake } from '../../src/core/session/handshake.ts';
import { decodeAnswer, decodeOffer, decodeUpdate } from '../../src/core/session/introduction.ts';
import { Opener, SessionKeys } from '../../src/core/session/keys.ts';
import { MessageChannel } from '../../src/net/message-channel.ts';
import { Meeting } from './meeting.ts';

const SERVICE = 'the-treasury';
const SECRET = 'attack at dawn, by the northern gate';

let meeting: Meeting;
beforeEach(async () => {
  meeting = await Meeting.start();
});
afterEach(() => meeting.close());

/** Every value that a method has been called with, or has returned, from now on. */
function watch(prototype: object, name: string) {
  return vi.spyOn(prototype as never, name as never) as unknown as {
    mock: { calls: unknown[][]; contexts: unknown[]; results: { value: unknown }[] };
  };
}

/** What a relay has written to the legs that it opened; the peers' own TLS writes past JavaScript. */
function passedOn({ calls, contexts }: { calls: unknown[][]; contexts: unknown[] }): Uint8Array[] {
  const writes = calls.map(([bytes], call) => ({ bytes, socket: contexts[call] }));
  const opened = ({ bytes }: { bytes: unknown }) =>
    bytes instanceof Uint8Array && bytes.length === 1 && bytes[0] === OPEN;
  const legs = new Set(writes.filter(opened).map(({ socket }) => socket));
  return writes.flatMap(({ bytes, socket }) =>
    legs.has(socket) && bytes instanceof Uint8Array && !(socket instanceof TLSSocket) ? [bytes] : [],
  );
}

/** One session with data in it, by two peers of which nothing is pretended. */
async function talk(paths: readonly PathChoice[] = ['udp', 'tcp', 'relay']): Promise<void> {
  const bob = await meeting.peer('bob', ['any']);
  bob.handle(SERVICE, (stream) => stream.pipe(stream));
  const alice = await meeting.peer('alice');
  const session = await alice.connect(bob.id, { paths });
  if (paths.length > 1) await session.whenDirect({ timeout: 20_000 });
  const stream = await session.open(SERVICE);
  stream.end(SECRET);
  const [echo] = (await once(stream, 'data')) as [Buffer];
  expect(echo.toString()).toBe(SECRET);
  await session.close();
  await Promise.all([alice.close(), bob.close()]);
}

/** All keys of a session, however they are called. */
function keysOf(keys: SessionKeys): Uint8Array[] {
  const paths = (['udp', 'tcp', 'relay'] as const).map((kind) => keys.path(kind, 'initiator'));
  return [
    ...paths.flatMap(({ psk, tagIn, tagOut, identity }) => [psk, tagIn, tagOut, Buffer.from(identity)]),
    keys.probe('initiator'),
    keys.probe('responder'),
    Buffer.from(keys.probeUsername),
  ];
}

describe('the rendezvous', () => {
  it('is sent neither host addresses nor keys, services or data, and its relay neither', async () => {
    const sent = watch(MessageChannel.prototype, 'send');
    const written = watch(Socket.prototype, 'write');
    const openings = vi.spyOn(SessionKeys, 'first');
    const boxes = watch(Opener.prototype, 'open');
    await talk(['relay']);
    await talk();
    await talk(['udp', 'tcp']); // without a circuit all that the two tell each other goes in boxes

    const told = boxes.mock.results.flatMap(
      ({ value }) => decodeUpdate(value as Uint8Array).candidates ?? [],
    );
    const hosts = told.filter(({ type }) => type === 'host').map(({ endpoint }) => endpoint);
    expect(hosts.length).toBeGreaterThan(0); // they did travel, sealed

    const messages = sent.mock.calls.map(([message]) => Buffer.from(encodeMessage(message as never)));
    const signalling = Buffer.concat(messages);
    const relay = Buffer.concat(passedOn(written.mock));
    expect(signalling.length).toBeGreaterThan(1_000);
    expect(relay.length).toBeGreaterThan(1_000);

    const secrets = openings.mock.results.flatMap(({ value }) => keysOf(value as SessionKeys));
    const words = [SERVICE, SECRET, 'updates', ...hosts.map(({ address }) => address)];
    const binary = hosts.map(({ address }) => addressBytes(address));
    const splitKeys = openings.mock.calls.map(([{ splitKeys }]) => splitKeys);
    const halves = splitKeys.flatMap((key) => [key.subarray(0, 32), key.subarray(32)]);
    // A path's tag and its PSK's name are shown to the relay: they open the path and tell nothing.
    const shown = openings.mock.results.flatMap(({ value }) => {
      const { tagIn, tagOut, identity } = (value as SessionKeys).path('relay', 'initiator');
      return [tagIn, tagOut, Buffer.from(identity)].map((bytes) => Buffer.from(bytes).toString('hex'));
    });
    const needles = [...words.map((word) => Buffer.from(word)), ...secrets, ...halves, ...binary];
    for (const needle of needles.map((bytes) => Buffer.from(bytes))) {
      expect(signalling.includes(needle), `${needle.toString('hex')} in signalling`).toBe(false);
      if (needle.length < 8 || shown.includes(needle.toString('hex'))) continue;
      expect(relay.includes(needle), `${needle.toString('hex')} at the relay`).toBe(false);
    }
  });

  it('is sent at most 4 KiB by each peer for one session', async () => {
    const sent = watch(MessageChannel.prototype, 'send');
    await talk();
    const bytes = new Map<unknown, number>();
    for (const [index, [message]] of sent.mock.calls.entries()) {
      if (['hello', 'auth', 'ping', 'bye'].includes((message as { t: string }).t)) continue;
      const channel = sent.mock.contexts[index];
      bytes.set(channel, (bytes.get(channel) ?? 0) + encodeMessage(message as never).length);
    }
    expect(bytes.size).toBe(2);
    for (const count of bytes.values()) expect(count).toBeLessThanOrEqual(4_096);
  });
});

describe('the handshake’s two messages', () => {
  it('carry public mappings that the rendezvous attested, and no other address', async () => {
    const read = watch(Handshake.prototype, 'read');
    await talk();
    const [offer, answer] = read.mock.results.map(({ value }) => value as Uint8Array);
    const candidates: Candidate[] = [...decodeOffer(offer!).candidates, ...decodeAnswer(answer!).candidates];
    expect(candidates.length).toBeGreaterThan(0);
    for (const candidate of candidates) {
      expect(candidate).toMatchObject({ type: 'srflx', attestation: expect.anything() as unknown });
    }
  });

  it('carry no mapping and no profile where only the relay may be used', async () => {
    const read = watch(Handshake.prototype, 'read');
    const bob = await meeting.peer('bob', ['any']);
    const alice = await meeting.peer('alice');
    await (await alice.connect(bob.id, { paths: ['relay'] })).close();
    const [offer, answer] = read.mock.results.map(({ value }) => value as Uint8Array);
    for (const { candidates, profile } of [decodeOffer(offer!), decodeAnswer(answer!)]) {
      expect(candidates).toEqual([]);
      expect(profile).toMatchObject({ udp: { publicAddresses: [] }, tcp: { publicAddresses: [] } });
    }
  });
});
