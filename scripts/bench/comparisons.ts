import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import type { Contender, Exercise } from './contender.ts';

export interface Comparison {
  readonly name: string;
  /** What is measured, in a sentence. */
  readonly about: string;
  readonly exercise: Exercise['exercise'];
  /** The two ends reach the middle and not each other; on loopback otherwise. */
  readonly apart?: boolean;
  /** How many connections count in one round, after one that doesn't. @default 4 */
  readonly connections?: number;
  readonly ours: Contender;
  readonly theirs: readonly Rival[];
}

export interface Rival {
  readonly contender: Contender;
  /** How much of its speed is wanted; a ratio above 1 means that we are faster. */
  readonly target?: number;
  /** How many times its middle's processor time ours may take. */
  readonly middle?: number;
}

export const ours = (variant: string): Contender => ({
  name: `sallyport ${variant}`,
  module: 'contenders/sallyport.mjs',
  variant,
  middle: true,
});

export const TLS: Contender = { name: 'node:tls', module: 'contenders/tls.mjs' };
export const PLAIN_TCP: Contender = { name: 'node:net', module: 'contenders/tcp.mjs' };
export const HYPERDHT: Contender = { name: 'hyperdht', module: 'peers/hyperdht.mjs', middle: true };
const AWAKE_TCP: Contender = { name: 'node:net, awake', module: 'contenders/tcp.mjs', variant: 'awake' };
const HYPERDHT_RELAYED: Contender = {
  name: 'hyperdht, relayed',
  module: 'peers/hyperdht-relay.mjs',
  middle: true,
};
const ssh = { name: 'ssh -L', module: 'contenders/ssh.mjs' };
const webrtc = { name: 'WebRTC', module: 'peers/webrtc.mjs' };

/** Two pipes joined by one process: bytes as they are, and TLS from end to end. */
const splice = (name: string, module: string): { bare: Contender; tls: Contender } => ({
  bare: { name: `${name} splice`, module, middle: true },
  tls: { name: `TLS over ${name} splice`, module, middle: true, variant: 'tls' },
});
const tcpSplice = splice('tcp', 'contenders/tcp-splice.mjs');
const http2Splice = splice('http2', 'contenders/http2-splice.mjs');
const webSocketSplice = splice('ws', 'contenders/websocket-splice.mjs');
const tlsOverUdx = { name: 'node:tls over udx', module: 'contenders/tls-udx.mjs' };
const libp2p = { name: 'libp2p', module: 'peers/libp2p.mjs' };

/** What our relay may take of the processor, compared with a process that only pipes. */
const RELAY_PROCESSOR = 1.2;

/** Who can't run here, and what that would need. */
export const LEFT_OUT: readonly { readonly name: string; readonly why: string }[] = existsSync(
  '/usr/sbin/sshd',
)
  ? []
  : [{ name: ssh.name, why: 'there is no sshd (Debian package openssh-server)' }];

export const COMPARISONS: readonly Comparison[] = [
  {
    name: 'bulk-tcp',
    about:
      "bulk over one stream of a session on a direct TCP path; Node's TLS 1.3 with the same cipher, libp2p's TCP with Noise and yamux, and TCP without encryption; openssh's forward, whose own two processes are not counted",
    exercise: 'bulk',
    ours: ours('tcp'),
    theirs: [
      { contender: TLS, target: 0.8 },
      { contender: libp2p, target: 1.8 },
      { contender: HYPERDHT, target: 4 },
      ...(LEFT_OUT.length === 0 ? [{ contender: ssh }] : []),
      { contender: PLAIN_TCP },
    ],
  },
  {
    name: 'bulk-udp',
    about:
      "bulk over one stream of a session on a direct UDP path; hyperdht's encrypted stream, also on udx, and Node's TLS on the same carrier without a session; a WebRTC data channel of node-datachannel",
    exercise: 'bulk',
    ours: ours('udp'),
    theirs: [{ contender: HYPERDHT, target: 1.1 }, { contender: tlsOverUdx }, { contender: webrtc }],
  },
  {
    name: 'ping-tcp',
    about:
      'one byte to and fro on an open stream of a session on a direct TCP path; bare TCP between two processes that never sleep shows what the machine itself does to the slowest',
    exercise: 'ping',
    ours: ours('tcp'),
    theirs: [
      { contender: HYPERDHT, target: 1 },
      { contender: TLS },
      { contender: libp2p },
      // On one core they would keep each other from answering.
      ...(availableParallelism() > 1 ? [{ contender: AWAKE_TCP }] : []),
    ],
  },
  {
    name: 'ping-udp',
    about: 'one byte to and fro on an open stream of a session on a direct UDP path',
    exercise: 'ping',
    ours: ours('udp'),
    theirs: [{ contender: HYPERDHT, target: 1 }, { contender: tlsOverUdx }],
  },
  {
    name: 'bulk-relay-h1',
    about:
      'bulk, encrypted end to end, through the relay by an upgraded HTTP/1.1 connection; one process that pipes two TCP connections, with TLS from end to end and with unencrypted bytes',
    exercise: 'bulk',
    ours: ours('relay-h1'),
    theirs: [
      { contender: tcpSplice.tls, target: 0.75 },
      { contender: tcpSplice.bare, middle: RELAY_PROCESSOR },
    ],
  },
  {
    name: 'bulk-relay-h2',
    about:
      'bulk, encrypted end to end, through the relay by HTTP/2; one process that pipes two HTTP/2 streams',
    exercise: 'bulk',
    ours: ours('relay-h2'),
    theirs: [
      { contender: http2Splice.bare, target: 0.5, middle: RELAY_PROCESSOR },
      { contender: http2Splice.tls },
    ],
  },
  {
    name: 'bulk-relay-ws',
    about:
      'bulk, encrypted end to end, through the relay by WebSocket; one process that pipes two WebSockets',
    exercise: 'bulk',
    ours: ours('relay-ws'),
    theirs: [
      { contender: webSocketSplice.bare, target: 0.9, middle: RELAY_PROCESSOR },
      { contender: webSocketSplice.tls },
    ],
  },
  {
    name: 'bulk-apart',
    about:
      'bulk through the relay, where the two ends reach it and not each other; hyperdht through its own kind of relay',
    exercise: 'bulk',
    apart: true,
    ours: ours('relay-h1'),
    theirs: [{ contender: HYPERDHT_RELAYED, target: 5, middle: 1 }],
  },
  {
    name: 'ping-apart',
    about: 'one byte to and fro through the relay, likewise',
    exercise: 'ping',
    apart: true,
    ours: ours('relay-h1'),
    theirs: [{ contender: HYPERDHT_RELAYED, target: 1 }],
  },
  {
    name: 'connect-relay',
    about:
      'connect to first byte echoed through the relay, both registered; hyperdht on its own DHT, direct; libp2p dials an address that it was given',
    exercise: 'connect',
    ours: ours('relay-h1'),
    theirs: [{ contender: HYPERDHT }, { contender: libp2p }],
  },
  {
    name: 'connect-apart',
    about:
      'connect to first byte echoed through the relay, where the two ends reach it and not each other; hyperdht through its own kind of relay',
    exercise: 'connect',
    apart: true,
    connections: 1, // of three or more to one peer hyperdht aborts some
    ours: ours('relay-h1'),
    theirs: [{ contender: HYPERDHT_RELAYED, target: 1 }],
  },
  {
    name: 'connect-any',
    about:
      'connect to first byte echoed, where every kind of path is allowed, as it is if nothing is said; hyperdht on its own DHT, direct',
    exercise: 'connect',
    ours: ours('any'),
    theirs: [{ contender: HYPERDHT, target: 1 }],
  },
  {
    name: 'connect-udp',
    about: 'connect to first byte echoed, where only a direct UDP path is allowed; hyperdht on its own DHT',
    exercise: 'connect',
    ours: ours('udp'),
    theirs: [{ contender: HYPERDHT, target: 1 }],
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
