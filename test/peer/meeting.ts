import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { vi } from 'vitest';
import { hex } from '../../src/core/bytes.ts';
import { identityFromSeed, type Identity, type PeerId } from '../../src/core/identity.ts';
import type { NatProfile } from '../../src/core/nat/behavior.ts';
import { attest } from '../../src/core/protocol/attestation.ts';
import { signOffer } from '../../src/core/protocol/auth.ts';
import type { MessageTo, ToNode, ToRendezvous } from '../../src/core/protocol/rendezvous.ts';
import type { Candidate } from '../../src/core/punch/candidate.ts';
import type { PathChoice } from '../../src/core/punch/situation.ts';
import { Handshake } from '../../src/core/session/handshake.ts';
import {
  encodeOffer,
  encodeUpdate,
  INTRODUCTION_VERSION,
  type UpdateFields,
} from '../../src/core/session/introduction.ts';
import { SessionKeys, type Sealer } from '../../src/core/session/keys.ts';
import { Peer, Rendezvous } from '../../src/index.ts';
import { loadIdentity } from '../../src/net/identity-file.ts';
import { profileOf } from '../core/punch/nat-profile.ts';

/** A host that everybody can reach: nothing has to be waited for. */
const OPEN: NatProfile = profileOf([], '127.0.0.1');

export function freshIdentity(): Identity {
  return identityFromSeed(new Uint8Array(randomBytes(32)));
}

/** A real rendezvous with its relay on loopback, and the peers that use it. */
export class Meeting {
  readonly rendezvous: Rendezvous;
  /** The deployment's own key: whoever holds it can lie as only the rendezvous could. */
  readonly deployment: Identity;
  readonly #folder: string;
  readonly #closers: (() => unknown)[] = [];

  private constructor(rendezvous: Rendezvous, folder: string) {
    this.rendezvous = rendezvous;
    this.#folder = folder;
    this.deployment = loadIdentity(join(folder, 'r', 'rendezvous.key'));
  }

  static async start(): Promise<Meeting> {
    const folder = mkdtempSync(join(tmpdir(), 'sallyport-meeting-'));
    const home = join(folder, 'r');
    return new Meeting(
      await Rendezvous.start({ listen: '127.0.0.1:0', insecure: true, open: true, home }),
      folder,
    );
  }

  /** @param rendezvous a way to it */
  async peer(
    name: string,
    allow: readonly string[] = [],
    rendezvous: string = this.rendezvous.url,
  ): Promise<Peer> {
    const peer = await Peer.start({ home: join(this.#folder, name), rendezvous, allow });
    this.onClose(async () => {
      for (const { driver } of peer.sessions) driver.destroy(); // whoever is at the other end may not answer
      await peer.close();
    });
    return peer;
  }

  onClose(closer: () => unknown): void {
    this.#closers.push(closer);
  }

  async close(): Promise<void> {
    for (const closer of this.#closers.splice(0).reverse()) await closer();
    await this.rendezvous.close();
    rmSync(this.#folder, { recursive: true, force: true });
    vi.restoreAllMocks();
  }
}

/** What a peer hands to its rendezvous from now on. */
export function sentBy(peer: Peer): ToRendezvous[] {
  const sent: ToRendezvous[] = [];
  const { deployment } = peer;
  const send = deployment.send.bind(deployment);
  vi.spyOn(deployment, 'send').mockImplementation((message) => {
    sent.push(message);
    return send(message);
  });
  return sent;
}

export interface OfferOptions {
  readonly kinds?: readonly PathChoice[];
  readonly candidates?: readonly Candidate[];
  readonly profile?: NatProfile;
  readonly session?: Uint8Array;
  /** By the rendezvous's clock, instead of now. */
  readonly ageMs?: number;
  /** Who attests it, instead of the rendezvous. */
  readonly signer?: Identity;
  readonly tickets?: readonly Uint8Array[];
  /** For the session of that id, which is to go on. */
  readonly resume?: { readonly epoch: number; readonly next: number };
}

/** An offer on its way to a peer, as the rendezvous forwards it. */
export type ForwardedOffer = MessageTo<ToNode, 'offer'>;

/** Offers sessions to one peer message by message, as an honest peer would or not; the rendezvous carries none of it. */
export class Caller {
  readonly identity: Identity;
  readonly instance = new Uint8Array(randomBytes(16));
  readonly #meeting: Meeting;
  readonly #callee: Peer;
  readonly #sent: ToRendezvous[];

  constructor(
    meeting: Meeting,
    callee: Peer,
    sent: ToRendezvous[] = sentBy(callee),
    identity = freshIdentity(),
  ) {
    this.#meeting = meeting;
    this.#callee = callee;
    this.#sent = sent;
    this.identity = identity;
  }

  get id(): PeerId {
    return this.identity.id;
  }

  /** A place at which the rendezvous has seen this caller. */
  attested(candidate: Omit<Candidate, 'attestation'>): Candidate {
    const { deployment } = this.#meeting;
    const time = this.#callee.deployment.serverTime();
    const { transport, endpoint } = candidate;
    return { ...candidate, attestation: attest(deployment, this.id, transport, endpoint, time) };
  }

  /** Makes an offer and delivers it. */
  offer(options: OfferOptions = {}): Call {
    const {
      kinds = ['udp', 'tcp', 'relay'],
      candidates = [],
      profile = OPEN,
      session = new Uint8Array(randomBytes(16)),
      ageMs = 0,
      signer = this.#meeting.deployment,
      tickets = [],
      resume,
    } = options;
    const handshake = Handshake.initiator(this.identity, {
      initiator: this.id,
      responder: this.#callee.id,
      rendezvous: this.#meeting.deployment.id,
      session,
    });
    const noise = handshake.write(
      encodeOffer(
        {
          version: INTRODUCTION_VERSION,
          kinds: [...kinds],
          candidates: [...candidates],
          profile,
          roundTripMs: 1,
          ...(resume && { resume }),
        },
        this.identity.successions,
      ),
    );
    const time = this.#callee.deployment.serverTime() - ageMs;
    const signature = signOffer(signer, this.id, session, noise, time);
    const from = this.identity.publicKey;
    const { instance } = this;
    const call = new Call(this, this.#callee, this.#sent, handshake, {
      t: 'offer',
      session,
      from,
      instance,
      noise,
      time,
      signature,
      tickets: [...tickets],
    });
    call.deliver();
    return call;
  }
}

/** One offer, what came back for it, and what follows. */
export class Call {
  readonly offer: ForwardedOffer;
  readonly #caller: Caller;
  readonly #callee: Peer;
  readonly #sent: ToRendezvous[];
  readonly #handshake: Handshake;
  #sealer: Sealer | undefined;
  #keys: SessionKeys | undefined;

  constructor(
    caller: Caller,
    callee: Peer,
    sent: ToRendezvous[],
    handshake: Handshake,
    offer: ForwardedOffer,
  ) {
    this.#caller = caller;
    this.#callee = callee;
    this.#sent = sent;
    this.#handshake = handshake;
    this.offer = offer;
  }

  /** Delivers the offer, perhaps not for the first time. */
  deliver(): void {
    this.#callee.deployment.emit('message', this.offer);
  }

  /** Everything that the callee has said about this session. */
  get replies(): ToRendezvous[] {
    return this.#sent.filter((message) => 'session' in message && hex(message.session) === this.id);
  }

  get id(): string {
    return hex(this.offer.session);
  }

  /** The code with which the offer was refused; `undefined` where it wasn't. */
  get refusal(): string | undefined {
    const refuse = this.replies.find((message) => message.t === 'refuse');
    return refuse?.t === 'refuse' ? refuse.code : undefined;
  }

  get answered(): boolean {
    return this.replies.some((message) => message.t === 'answer');
  }

  /** The session's keys, which only a caller with a fresh ephemeral of its own can get from the answer. */
  get keys(): SessionKeys {
    if (!this.#keys) {
      const answer = this.replies.find((message) => message.t === 'answer');
      if (answer?.t !== 'answer') throw new Error(`the offer was not answered: ${this.refusal}`);
      this.#handshake.read(answer.noise);
      this.#keys = SessionKeys.first(this.#handshake.result());
    }
    return this.#keys;
  }

  /** A sealed update; the first one proves the keys. */
  update(fields: UpdateFields): void {
    this.box(this.seal(encodeUpdate(fields)));
  }

  seal(bytes: Uint8Array): Uint8Array {
    this.#sealer ??= this.keys.sealer('initiator');
    return this.#sealer.seal(bytes);
  }

  /** Whatever comes as a sealed box. */
  box(box: Uint8Array, from = this.#caller.identity.publicKey): void {
    const { session, instance } = this.offer;
    this.#callee.deployment.emit('message', { t: 'trickle', session, from, instance, box });
  }
}
