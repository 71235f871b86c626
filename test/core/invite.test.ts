import { randomBytes } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SallyportError } from '../../src/core/errors.ts';
import { identityFromSeed } from '../../src/core/identity.ts';
import { formatInvite, inviteKeyOf, parseInvite, proveInvite, provesInvite } from '../../src/core/invite.ts';

const [alice, bob, carol, deployment] = [1, 2, 3, 4].map(
  (n) => identityFromSeed(new Uint8Array(32).fill(n)).id,
);
const context = {
  initiator: alice!,
  responder: bob!,
  rendezvous: deployment!,
  session: new Uint8Array(16).fill(7),
};
const rendezvous = { url: 'https://rendezvous.example.org:8443', id: deployment! };

describe('an invite as text', () => {
  it('comes back as it was, whatever its secret and token', () => {
    const secrets = fc.uint8Array({ minLength: 16, maxLength: 16 });
    fc.assert(
      fc.property(secrets, fc.string({ minLength: 1, unit: 'grapheme' }), (secret, token) => {
        const invite = { inviter: bob!, secret, rendezvous: { ...rendezvous, token } };
        expect(parseInvite(formatInvite(invite))).toEqual(invite);
      }),
    );
    const plain = { inviter: bob!, secret: new Uint8Array(16), rendezvous };
    expect(parseInvite(formatInvite(plain))).toEqual(plain);
  });

  it('can be typed: nothing a shell would touch, and neither case nor grouping matters', () => {
    const text = formatInvite({ inviter: bob!, secret: new Uint8Array(randomBytes(16)), rendezvous });
    expect(text).toMatch(/^https:\/\/rendezvous\.example\.org:8443#invite=[a-z2-7]{8}(-[a-z2-7]{1,8})+$/);
    const [url, code] = text.split('#invite=') as [string, string];
    for (const typed of [code.toUpperCase(), code.replaceAll('-', ''), code.replaceAll('-', ' - ')]) {
      expect(parseInvite(`${url}#invite=${typed}`)).toEqual(parseInvite(text));
    }
  });

  it('with a letter wrong, a part missing or another host is told from a refusal', () => {
    const text = formatInvite({ inviter: bob!, secret: new Uint8Array(16), rendezvous });
    const at = text.indexOf('#invite=') + 12;
    const wrong = text.slice(0, at) + (text[at] === 'a' ? 'b' : 'a') + text.slice(at + 1);
    for (const spoilt of [wrong, text.slice(0, -9), text.replace('rendezvous', 'elsewhere'), 'x#invite=']) {
      expect(() => parseInvite(spoilt)).toThrow(expect.objectContaining({ code: 'URL_INVALID' }));
    }
  });

  it('that anybody made up throws nothing untyped', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(() => parseInvite(`https://x#invite=${text}`)).toThrow(SallyportError);
      }),
    );
  });
});

describe('the proof of an invite', () => {
  const secret = new Uint8Array(randomBytes(16));

  it('holds for the session, guest and inviter that it was made for, and for no other', () => {
    const proof = proveInvite(secret, context);
    expect(provesInvite(proof, context)).toBe(true);
    const others = [
      { initiator: carol! },
      { responder: carol! },
      { rendezvous: carol! },
      { session: new Uint8Array(16) },
    ];
    for (const other of others) expect(provesInvite(proof, { ...context, ...other })).toBe(false);
  });

  it('can not be made from what the inviter keeps', () => {
    const key = inviteKeyOf(secret);
    const forged = proveInvite(key.slice(0, 16), context);
    expect(provesInvite({ ...forged, key }, context)).toBe(false);
  });
});
