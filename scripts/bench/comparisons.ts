import type { Contender, Exercise } from './contender.ts';

export interface Comparison {
  readonly name: string;
  /** What is measured, in a sentence. */
  readonly about: string;
  readonly exercise: Exercise['exercise'];
  readonly ours: Contender;
  readonly theirs: readonly Rival[];
}

export interface Rival {
  readonly contender: Contender;
  /** How much of its speed is wanted; a ratio above 1 means that we are faster. */
  readonly target?: number;
}

export const ours = (variant: string): Contender => ({
  name: `sallyport ${variant}`,
  module: 'contenders/sallyport.mjs',
  variant,
  middle: true,
});

export const TLS: Contender = { name: 'node:tls', module: 'contenders/tls.mjs' };
export const PLAIN_TCP: Contender = { name: 'node:net', module: 'contenders/tcp.mjs' };
const http2Splice = { name: 'http2 splice', module: 'contenders/http2-splice.mjs', middle: true };
const webSocketSplice = { name: 'ws splice', module: 'contenders/websocket-splice.mjs', middle: true };
export const HYPERDHT: Contender = { name: 'hyperdht', module: 'peers/hyperdht.mjs', middle: true };
const libp2p = { name: 'libp2p', module: 'peers/libp2p.mjs' };

export const COMPARISONS: readonly Comparison[] = [
  {
    name: 'bulk-tcp',
    about:
      "bulk over one stream of a session on a direct TCP path; Node's TLS 1.3 with the same cipher, libp2p's TCP with Noise and yamux, and TCP without encryption",
    exercise: 'bulk',
    ours: ours('tcp'),
    theirs: [{ contender: TLS, target: 0.6 }, { contender: libp2p }, { contender: PLAIN_TCP }],
  },
  {
    name: 'bulk-udp',
    about: "bulk over one stream of a session on a direct UDP path; hyperdht's encrypted stream, also on udx",
    exercise: 'bulk',
    ours: ours('udp'),
    theirs: [{ contender: HYPERDHT, target: 0.8 }],
  },
  {
    name: 'bulk-relay-h2',
    about:
      'bulk, encrypted end to end, through the relay by HTTP/2; unencrypted bytes through one process that pipes two HTTP/2 streams',
    exercise: 'bulk',
    ours: ours('relay-h2'),
    theirs: [{ contender: http2Splice, target: 0.3 }],
  },
  {
    name: 'bulk-relay-ws',
    about:
      'bulk, encrypted end to end, through the relay by WebSocket; unencrypted bytes through one process that pipes two WebSockets',
    exercise: 'bulk',
    ours: ours('relay-ws'),
    theirs: [{ contender: webSocketSplice, target: 0.3 }],
  },
  {
    name: 'connect-relay',
    about:
      'connect to first byte echoed through the relay, both registered; hyperdht on its own DHT; libp2p dials an address that it was given',
    exercise: 'connect',
    ours: ours('relay-h2'),
    theirs: [{ contender: HYPERDHT }, { contender: libp2p }],
  },
  {
    name: 'connect-udp',
    about: 'connect to first byte echoed, where only a direct UDP path is allowed; hyperdht on its own DHT',
    exercise: 'connect',
    ours: ours('udp'),
    theirs: [{ contender: HYPERDHT }],
  },
  {
    name: 'connect-tcp',
    about:
      'connect to first byte echoed, where only a direct TCP path is allowed; libp2p dials an address that it was given',
    exercise: 'connect',
    ours: ours('tcp'),
    theirs: [{ contender: libp2p }],
  },
];
