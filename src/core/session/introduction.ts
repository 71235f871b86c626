import * as v from 'valibot';
import { bytesOf, bytesUpTo, decode, encode, milliseconds } from '../codec.ts';
import { LIMITS } from '../limits.ts';
import type { NatProfile } from '../nat/behavior.ts';
import { profileFields, profileSchema } from '../nat/profile-schema.ts';
import { candidateSchema, type Candidate } from '../punch/candidate.ts';
import { encodeSuccessions, MAX_SUCCESSIONS_BYTES, type Succession } from '../succession.ts';
import { CIRCUIT_KINDS } from './events.ts';

/**
 * What two peers tell each other, unseen by the rendezvous: the payloads of the handshake's two messages, and what
 * follows under the keys that come from it.
 */

const kinds = v.pipe(v.array(v.picklist(['udp', 'tcp', 'relay'])), v.maxLength(3));
const circuits = v.pipe(v.array(v.picklist(CIRCUIT_KINDS)), v.maxLength(CIRCUIT_KINDS.length));
const candidates = v.pipe(v.array(candidateSchema), v.maxLength(LIMITS.candidates));

/** No estimate of a round trip is longer, whatever was measured. */
export const MAX_ROUND_TRIP_MS = 10_000;

/** T0 is at most this far ahead, whoever sets it (docs/protocol.md, "Introduction"). */
export const MAX_START_LEAD_MS = 2_000;

/** What T0 is later than the answer's arrival, so that a little delay on its way doesn't matter. */
const START_MARGIN_MS = 10;

/**
 * How long a session's circuit has the processor to itself, from the moment when an end has the keys. It carries the first bytes, and to secure it takes a
 * few milliseconds; so do the first datagrams and dials of a round of punching. Side by side they kept the first byte waiting for twice as long.
 */
export const HEAD_START_MS = 30;

/**
 * From the answer to T0, which is when the answer reaches the offerer, by the answerer's reckoning, and a little more.
 * @param relayed a circuit has a head start
 */
export function startLeadMs(roundTripMs: number, relayed = false): number {
  const arrivalMs = roundTripMs / 2 + Math.min(START_MARGIN_MS, roundTripMs / 4);
  return Math.min(MAX_START_LEAD_MS, arrivalMs + (relayed ? HEAD_START_MS : 0));
}

/** From that T0 until the offerer's first box lets the answerer begin. It is sent when the answer has come, and a head start is over. */
export function confirmationMs(roundTripMs: number): number {
  return Math.max(0, roundTripMs - startLeadMs(roundTripMs));
}

const roundTripMs = v.pipe(milliseconds, v.maxValue(MAX_ROUND_TRIP_MS));

/** When a round of punching starts, the same for both ends. */
const start = v.object({
  /** T0 by the rendezvous's clock, milliseconds; at most 2 s ahead. */
  at: milliseconds,
  /** Between the two peers, as estimated by way of the rendezvous. */
  roundTripMs,
});

const sequence = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

/** A session that has lost all its paths goes on with new keys. */
const resume = v.object({
  /** That of the last handshake that both ends know of, and one. */
  epoch: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(0xffff_ffff)),
  /** The next reliable frame that the offerer expects. */
  next: sequence,
});

const offerSchema = v.object({
  version: v.number(),
  /** Which kinds of path the initiator allows. */
  kinds,
  /** Of which kinds both legs are to be, where the initiator doesn't take any. */
  circuits: v.optional(circuits),
  /** Public mappings only: message 1 has no forward secrecy. */
  candidates,
  profile: profileSchema,
  /** The initiator's round trip to the rendezvous, milliseconds: the answerer needs it to set T0. */
  roundTripMs,
  /** The initiator only wants to know what would be tried: the answer is all that comes of it. */
  planOnly: v.optional(v.boolean()),
  /** The initiator was invited, and is to come onto the allow list. */
  invite: v.optional(v.object({ key: bytesOf(32), signature: bytesOf(64) })),
  /** The offer is for a session that there is: the one whose id it was made with. */
  resume: v.optional(resume),
  /** The initiator had other ids before: the chain that leads from those to the one it has now (`encodeSuccessions`). */
  successions: v.optional(bytesUpTo(MAX_SUCCESSIONS_BYTES)),
});

const answerSchema = v.object({
  version: v.number(),
  kinds,
  candidates,
  profile: profileSchema,
  start,
});

const MAX_ROUNDS = 1_000_000;

/** Later news under the session's keys; the first one confirms the keys to the answerer. */
const updateSchema = v.object({
  candidates: v.optional(candidates),
  profile: v.optional(profileSchema),
  /** Mappings that were new just now: where the port counters of a NAT stood, one for each transport. */
  samples: v.optional(v.pipe(v.array(candidateSchema), v.maxLength(2))),
  /** Another round of punching, which either end may propose; T0 as above. */
  round: v.optional(
    v.object({
      number: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(MAX_ROUNDS)),
      start,
      /** From UDP ports that nothing has used; the paths that are up stay. */
      fresh: v.optional(v.boolean()),
    }),
  ),
});

export type Offer = v.InferOutput<typeof offerSchema>;
export type Answer = v.InferOutput<typeof answerSchema>;
export type Update = v.InferOutput<typeof updateSchema>;
export type RoundStart = v.InferOutput<typeof start>;
export type Round = NonNullable<Update['round']>;

export const INTRODUCTION_VERSION = 1;

/** Of Noise message 1 beside its payload: ephemeral key, static key and its tag, tag of the payload. */
const MESSAGE_1_BYTES = 32 + 48 + 16;

/**
 * @param successions how the initiator came from its earlier ids: the newest of them are shown, as far as the rendezvous passes on an
 * offer so long
 */
export function encodeOffer(offer: Offer, successions: readonly Succession[] = []): Uint8Array {
  const shown = successions.length > 0 ? encodeSuccessions(successions) : offer.successions;
  const bytes = encode({
    ...offer,
    candidates: offer.candidates.map(fields),
    profile: profileFields(offer.profile),
    successions: shown,
  });
  const isShort = bytes.length <= LIMITS.noiseBytes - MESSAGE_1_BYTES;
  return isShort || successions.length === 0 ? bytes : encodeOffer(offer, successions.slice(1));
}

export function decodeOffer(bytes: Uint8Array): Offer {
  return decode(offerSchema, bytes, LIMITS.controlMessageBytes);
}

export function encodeAnswer(answer: Answer): Uint8Array {
  return encode({
    ...answer,
    candidates: answer.candidates.map(fields),
    profile: profileFields(answer.profile),
  });
}

export function decodeAnswer(bytes: Uint8Array): Answer {
  return decode(answerSchema, bytes, LIMITS.controlMessageBytes);
}

export function encodeUpdate({ candidates, profile, samples, round }: UpdateFields): Uint8Array {
  return encode({
    candidates: candidates?.map(fields),
    profile: profile && profileFields(profile),
    samples: samples?.map(fields),
    round,
  });
}

export function decodeUpdate(bytes: Uint8Array): Update {
  return decode(updateSchema, bytes, LIMITS.controlMessageBytes);
}

export interface UpdateFields {
  candidates?: readonly Candidate[] | undefined;
  profile?: NatProfile | undefined;
  samples?: readonly Candidate[] | undefined;
  round?: Round | undefined;
}

function fields({ type, transport, endpoint, attestation }: Candidate): Record<string, unknown> {
  const { address, port } = endpoint;
  return { type, transport, endpoint: { address, port }, ...(attestation && { attestation }) };
}
