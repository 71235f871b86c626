/** Every bound that a stranger can reach, by name (docs/threat-model.md, "Limits"). Times in milliseconds, sizes in bytes. */
export const LIMITS = {
  /** What an unauthenticated connection may make us hold. */
  preAuthBytes: 4 * 1024,
  controlMessageBytes: 16 * 1024,
  /** An offer's or answer's message of the handshake. */
  noiseBytes: 2_048,
  candidates: 20,
  streamsPerSession: 4_096,
  sessionsPerPeer: 64,
  /** Of one session, at a time: its peer may have another round of punching whenever it likes. */
  directPaths: 8,
  /** At once of one forward: one that leads back to itself ends here. */
  connectionsPerForward: 1_024,
  /** At once of one UDP forward; the one that is silent longest makes room for another. */
  flowsPerForward: 1_024,
  /** A UDP flow without a datagram in either direction ends. */
  flowIdleMs: 60_000,
  /** Datagrams of one flow that wait for a stream to take them; the oldest is dropped for the next. */
  queuedDatagrams: 64,
  /** To targets of ours, at a time, in all sessions of one peer: each holds up to a chunk or two that the peer doesn't read. */
  connectionsPerPeer: 4_096,
  /** What one peer may have us listen on at a time. */
  listenersPerPeer: 16,
  /** Transfers of files that one peer may have under way, and what one may have remembered of the read-only folders that it makes. */
  receptionsPerPeer: 4,
  /** Further ones that wait until one of those has ended. */
  waitingReceptionsPerPeer: 64,
  folderNameBytes: 4 * 1024 * 1024,
  /** Files that are read for their hash at a time, in the whole process. */
  hashesAtOnce: 2,
  /** Names of targets that are looked up at a time, in the whole process; beyond as many as Node looks up, its own names would wait as well. */
  lookupsAtOnce: 2,
  /** Offers that were answered and whose peer has not yet proven the session's keys. */
  unconfirmed: 256,
  confirmationMs: 12_000,
  registrationLeaseMs: 60_000,
  handshakeStepMs: 5_000,
  waitingLegMs: 10_000,
  relayIdleMs: 120_000,
  /** A standing connection to a relay shows itself at least this often, and hardly more often than it has to. */
  standingIdleMs: 60_000,
  standingKeepalivesPerSecond: 1,
  standingKeepalivesBurst: 20,
  connections: 8_192,
  /** A server has an eighth of its connections for one address: a carrier or an office may have hundreds of peers behind one, each with two. */
  connectionsPerAddress: 1_024,
  /** New ones of one address, which may be over at once: as after a restart, when all those peers come back, then so many. Each may cost a TLS handshake. */
  arrivalsPerSecond: 100,
  arrivalsBurst: 2_048,
  queuedMessagesPerClient: 64,
  /** Of one instance; it keeps to less by itself. */
  messagesPerSecond: 200,
  messagesBurst: 1_000,
  /** Of all instances of one address: as ten that have fallen into a loop. */
  addressMessagesPerSecond: 2_000,
  addressMessagesBurst: 10_000,
  registrations: 8_192,
  instancesPerPeer: 64,
  /** Names whose listeners have left, each for one more lease. */
  reservedNames: 8_192,
  /** With how many others an instance has introductions that a `gone` would have to reach. */
  contactsPerInstance: 256,
  /** Registrations that have ended and whose contacts may have to be told so. */
  departures: 8_192,
  /** Of those, the last whose unread messages wait for them: 64 KiB each. */
  keptDepartures: 256,
  relaysPerDeployment: 8,
  /** To every registration there is, when relays have come or gone: all of them may be restarted at once, then so often. */
  relayAnnouncementsBurst: 16,
  relayAnnouncementEveryMs: 10_000,
  /** STUN endpoints of a relay that peers are told of. */
  stunServersPerRelay: 1,
  circuits: 4_096,
  legsPerPeer: 128,
  waitingLegsPerPeer: 64,
  /** What a leg may send before its partner is there, and how much a splice holds per direction. */
  waitingLegBytes: 64 * 1024,
  spliceBytes: 512 * 1024,
  ticketLifetimeMs: 120_000,
  attestationLifetimeMs: 60_000,
  offerReplayWindowMs: 120_000,
  /** Offers that are remembered for so long, of peers that are allowed and of all others; beyond, what is new counts as seen. */
  rememberedOffers: 16_384,
  rememberedStrangersOffers: 4_096,
  resumeTimeoutMs: 120_000,
} as const;
