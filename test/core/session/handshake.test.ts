import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createHash, hkdfSync } from 'node:crypto';
import Noise from 'noise-handshake';
import { describe, expect, it } from 'vitest';
import { concat, hex, utf8 } from '../../../src/core/bytes.ts';
import { identityFromSeed, publicKeyOf } from '../../../src/core/identity.ts';
import { Handshake } from '../../../src/core/session/handshake.ts';
import { SessionKeys } from '../../../src/core/session/keys.ts';

const alice = identityFromSeed(new Uint8Array(32).fill(1));
const bob = identityFromSeed(new Uint8Array(32).fill(2));
const mallory = identityFromSeed(new Uint8Array(32).fill(3));
const context = {
  initiator: alice.id,
  responder: bob.id,
  rendezvous: identityFromSeed(new Uint8Array(32).fill(9)).id,
  session: new Uint8Array(16).fill(7),
};

function introduce() {
  const initiator = Handshake.initiator(alice, context);
  const responder = Handshake.responder(bob, context);
  const offer = initiator.write(utf8('offer'));
  const offered = responder.read(offer);
  const answer = responder.write(utf8('answer'));
  const answered = initiator.read(answer);
  return { initiator, responder, offer, answer, offered, answered };
}

describe('the Noise library', () => {
  it('reproduces the published vectors of Noise_IK_25519_ChaChaPoly_BLAKE2b', () => {
    const vectors = JSON.parse(
      readFileSync(new URL('../../fixtures/noise-ik-25519.json', import.meta.url), 'utf8'),
    );
    const bytes = (text: string) => Buffer.from(text, 'hex');
    const curve = createRequire(import.meta.url)('noise-handshake/dh');
    const pair = (secret: string) => curve.generateKeyPair(bytes(secret));
    const initiator = new Noise('IK', true, pair(vectors.initiatorStatic));
    initiator.initialise(bytes(vectors.prologue), bytes(vectors.responderStaticPublic));
    initiator.e = pair(vectors.initiatorEphemeral);
    const responder = new Noise('IK', false, pair(vectors.responderStatic));
    responder.initialise(bytes(vectors.prologue));
    responder.e = pair(vectors.responderEphemeral);

    const [first, second] = vectors.messages;
    const offer = initiator.send(bytes(first.payload));
    expect(hex(offer)).toBe(first.ciphertext);
    expect(hex(responder.recv(Buffer.from(offer)))).toBe(first.payload);
    const answer = responder.send(bytes(second.payload));
    expect(hex(answer)).toBe(second.ciphertext);
    expect(hex(initiator.recv(Buffer.from(answer)))).toBe(second.payload);
    expect(hex(initiator.hash!)).toBe(vectors.handshakeHash);
  });

  it('makes of the same keys the same messages, and we the same keys of them, as when this was frozen', () => {
    const vectors = JSON.parse(
      readFileSync(new URL('../../fixtures/noise-ik-ed25519.json', import.meta.url), 'utf8'),
    );
    const bytes = (text: string) => Buffer.from(text, 'hex');
    const curve = createRequire(import.meta.url)('noise-curve-ed');
    const pair = (seed: string) => curve.generateKeyPair(bytes(seed));
    const initiator = new Noise('IK', true, pair(vectors.initiatorStatic), { curve });
    initiator.initialise(bytes(vectors.prologue), pair(vectors.responderStatic).publicKey);
    initiator.e = pair(vectors.initiatorEphemeral);
    const responder = new Noise('IK', false, pair(vectors.responderStatic), { curve });
    responder.initialise(bytes(vectors.prologue));
    responder.e = pair(vectors.responderEphemeral);

    const [first, second] = vectors.messages;
    const offer = initiator.send(bytes(first.payload));
    expect(hex(offer)).toBe(first.ciphertext);
    expect(hex(responder.recv(Buffer.from(offer)))).toBe(first.payload);
    const answer = responder.send(bytes(second.payload));
    expect(hex(answer)).toBe(second.ciphertext);
    expect(hex(initiator.recv(Buffer.from(answer)))).toBe(second.payload);
    expect(hex(initiator.hash!)).toBe(vectors.handshakeHash);
    const splitKeys = concat(initiator.tx!, initiator.rx!);
    expect(hex(splitKeys)).toBe(vectors.splitKeys);

    const keys = SessionKeys.first({ splitKeys, hash: new Uint8Array(initiator.hash!) });
    const { tagOut, tagIn, psk, identity } = keys.path('tcp', 'initiator');
    expect({
      tagOut: hex(tagOut),
      tagIn: hex(tagIn),
      psk: hex(psk),
      identity,
      probe: hex(keys.probe('initiator')),
      probeUsername: keys.probeUsername,
      udxStreamId: keys.udxStreamId('initiator', 0),
      box: hex(keys.sealer('initiator').seal(utf8('box'))),
    }).toEqual(vectors.keys);
  });
});

describe('the handshake', () => {
  it('carries a payload each way and gives both ends the same keys', () => {
    const { initiator, responder, offered, answered } = introduce();
    expect(Buffer.from(offered).toString()).toBe('offer');
    expect(Buffer.from(answered).toString()).toBe('answer');
    const [a, b] = [SessionKeys.first(initiator.result()), SessionKeys.first(responder.result())];
    expect(a.path('tcp', 'initiator').psk).toEqual(b.path('tcp', 'responder').psk);
    expect(a.path('tcp', 'initiator').tagOut).toEqual(b.path('tcp', 'responder').tagIn);
    expect(a.probe('initiator')).toEqual(b.probe('initiator'));
    expect(a.probeUsername).toBe(b.probeUsername);
  });

  it('leaves the messages that it read untouched', () => {
    const initiator = Handshake.initiator(alice, context);
    const responder = Handshake.responder(bob, context);
    const offer = initiator.write(utf8('offer'));
    const before = hex(offer);
    responder.read(offer);
    const answer = responder.write(new Uint8Array());
    initiator.read(answer);
    expect(hex(offer)).toBe(before);
  });

  it.each([
    ['another session', { ...context, session: new Uint8Array(16) }],
    ['another rendezvous', { ...context, rendezvous: mallory.id }],
    ['another initiator', { ...context, initiator: mallory.id }],
  ])('fails when the responder was told of %s', (_, other) => {
    const offer = Handshake.initiator(alice, context).write(utf8('offer'));
    expect(() => Handshake.responder(bob, other).read(offer)).toThrow(
      expect.objectContaining({ code: 'HANDSHAKE_FAILED' }),
    );
  });

  it('fails when another peer initiates in the name of the one that was announced', () => {
    const offer = Handshake.initiator(mallory, context).write(utf8('offer'));
    expect(() => Handshake.responder(bob, context).read(offer)).toThrow(
      expect.objectContaining({ code: 'HANDSHAKE_FAILED' }),
    );
  });

  it('is as it was after a message that can not be read, such as an answer to another offer', () => {
    const initiator = Handshake.initiator(alice, context);
    const offer = initiator.write(utf8('offer'));
    const { answer: another } = introduce();
    for (const wrong of [another, new Uint8Array(200).fill(3), new Uint8Array(5)]) {
      expect(() => initiator.read(wrong)).toThrow(expect.objectContaining({ code: 'HANDSHAKE_FAILED' }));
    }
    const responder = Handshake.responder(bob, context);
    responder.read(offer);
    expect(initiator.read(responder.write(utf8('answer')))).toEqual(utf8('answer'));
    expect(initiator.result()).toEqual(responder.result());
  });

  it('fails typed on garbage, bad points and short messages', () => {
    const garbage = [
      new Uint8Array(),
      new Uint8Array(31),
      new Uint8Array(200),
      new Uint8Array(200).fill(255),
    ];
    for (const message of garbage) {
      expect(() => Handshake.responder(bob, context).read(message)).toThrow(
        expect.objectContaining({ code: 'HANDSHAKE_FAILED' }),
      );
    }
  });

  it('yields no key to one who saw the wire and knows the responder', () => {
    // The handshake hash is computable from public bytes alone, so no key may follow from it.
    const { initiator, offer, answer } = introduce();
    const result = initiator.result();
    const publicHash = hashFromTheWire(offer, answer);
    expect(hex(publicHash)).toBe(hex(result.hash));

    const keys = SessionKeys.first(result);
    const guesses = [new Uint8Array(64), new Uint8Array(0), publicHash].map(
      (ikm) => new Uint8Array(hkdfSync('sha256', ikm, publicHash, utf8('session'), 32)),
    );
    for (const secret of guesses) {
      const psk = hkdfSync('sha256', secret, new Uint8Array(), utf8('sallyport/1 0 tls-psk tcp'), 32);
      expect(hex(new Uint8Array(psk))).not.toBe(hex(keys.path('tcp', 'initiator').psk));
    }
  });
});

describe('session keys', () => {
  it('differ per label, direction, kind and epoch', () => {
    const first = SessionKeys.first(introduce().initiator.result());
    const second = first.next(introduce().initiator.result());
    const all = [first, second].flatMap((keys) => [
      keys.probe('initiator'),
      keys.probe('responder'),
      ...['udp', 'tcp', 'relay-h2'].flatMap((kind) => {
        const path = keys.path(kind, 'initiator');
        return [path.psk, path.tagIn, path.tagOut, utf8(path.identity)];
      }),
    ]);
    expect(new Set(all.map((key) => hex(key))).size).toBe(all.length);
  });

  it('of the next epoch need the old secret as well as the new handshake', () => {
    const again = introduce().initiator.result();
    const one = SessionKeys.first(introduce().initiator.result()).next(again);
    const other = SessionKeys.first(introduce().initiator.result()).next(again);
    expect(one.probe('initiator')).not.toEqual(other.probe('initiator'));
  });

  it('seal control messages once: a resent box opens one time, a changed one never', () => {
    const { initiator, responder } = introduce();
    const sealer = SessionKeys.first(initiator.result()).sealer('initiator');
    const opener = SessionKeys.first(responder.result()).opener('initiator');
    const [one, two] = [sealer.seal(utf8('one')), sealer.seal(utf8('two'))];
    expect(Buffer.from(opener.open(two)!).toString()).toBe('two');
    expect(Buffer.from(opener.open(one)!).toString()).toBe('one');
    expect(opener.open(two)).toBeUndefined();
    const forged = Uint8Array.from(one);
    forged[10]! ^= 1;
    expect(() => opener.open(forged)).toThrow(expect.objectContaining({ code: 'PROTOCOL_ERROR' }));
  });
});

describe('a sealed box', () => {
  function sealerAndOpener() {
    const { initiator, responder } = introduce();
    const keys = SessionKeys.first(responder.result());
    return { sealer: SessionKeys.first(initiator.result()).sealer('initiator'), keys };
  }

  it('opens in any order within two thousand, and once', () => {
    const { sealer, keys } = sealerAndOpener();
    const opener = keys.opener('initiator');
    const boxes = Array.from({ length: 5_000 }, () => sealer.seal(new Uint8Array()));
    const opens = (n: number) => opener.open(boxes[n]!) !== undefined;
    expect([opens(1_000), opens(1_000), opens(1), opens(1)]).toEqual([true, false, true, false]);
    expect([opens(4_999), opens(2_952), opens(2_952), opens(2_951), opens(0)]).toEqual([
      true,
      true,
      false,
      false,
      false,
    ]);
  });

  it('opens once after thousands of others too', () => {
    const { sealer, keys } = sealerAndOpener();
    const opener = keys.opener('initiator');
    const boxes = Array.from({ length: 5_000 }, () => sealer.seal(new Uint8Array()));
    const late = boxes.splice(4_000, 1)[0]!;
    expect(boxes.every((box) => opener.open(box) !== undefined)).toBe(true);
    expect(opener.open(late)).toBeDefined();
    expect([late, ...boxes].some((box) => opener.open(box) !== undefined)).toBe(false);
  });

  it('is of one direction and one session', () => {
    const { sealer, keys } = sealerAndOpener();
    const refused = expect.objectContaining({ code: 'PROTOCOL_ERROR' });
    expect(() => keys.opener('responder').open(sealer.seal(utf8('x')))).toThrow(refused);
    const other = SessionKeys.first(introduce().responder.result()).opener('initiator');
    expect(() => other.open(sealer.seal(utf8('x')))).toThrow(refused);
  });
});

/** Noise §5.2, MixHash over what is public: protocol name, prologue, responder's static key, both messages. */
function hashFromTheWire(offer: Uint8Array, answer: Uint8Array): Uint8Array {
  const mix = (h: Uint8Array, data: Uint8Array) =>
    new Uint8Array(createHash('blake2b512').update(concat(h, data)).digest());
  const name = new Uint8Array(64);
  name.set(utf8('Noise_IK_Ed25519_ChaChaPoly_BLAKE2b'));
  const ids = [context.initiator, context.responder, context.rendezvous].map(publicKeyOf);
  let h = mix(name, concat(utf8('sallyport/1'), ...ids, context.session));
  h = mix(h, bob.publicKey);
  h = mix(h, offer.subarray(0, 32));
  h = mix(h, offer.subarray(32, 80));
  h = mix(h, offer.subarray(80));
  h = mix(h, answer.subarray(0, 32));
  return mix(h, answer.subarray(32));
}
