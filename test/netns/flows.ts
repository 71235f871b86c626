import { type Traffic } from './accounting.ts';

/** One direction of a tracked connection, as seen where it enters the NAT. */
interface Tuple extends Traffic {
  source: string;
  sourcePort: number;
  destination: string;
  destinationPort: number;
}

/** One connection that a NAT tracks: `reply.destination` and `reply.destinationPort` are the public mapping. */
export interface Flow {
  protocol: 'udp' | 'tcp';
  /** TCP only: conntrack's state, such as ESTABLISHED. */
  state: string | undefined;
  original: Tuple;
  reply: Tuple;
}

/** Reads the output of `conntrack -L` with accounting on; other protocols than UDP and TCP are left out. */
export function parseFlows(listing: string): Flow[] {
  return listing.split('\n').flatMap((line) => {
    const [protocol] = line.split(' ');
    if (protocol !== 'udp' && protocol !== 'tcp') return [];
    const tuples = [...line.matchAll(TUPLE)].map(({ groups = {} }) => toTuple(groups));
    const [original, reply] = tuples;
    if (original === undefined || reply === undefined) return [];
    return [{ protocol, state: /^tcp +\d+ \d+ ([A-Z_0-9]+) /.exec(line)?.[1], original, reply }];
  });
}

const TUPLE =
  /src=(?<src>\S+) dst=(?<dst>\S+) sport=(?<sport>\d+) dport=(?<dport>\d+)(?: packets=(?<packets>\d+) bytes=(?<bytes>\d+))?/g;

function toTuple(groups: Record<string, string>): Tuple {
  return {
    source: groups['src'] ?? '',
    sourcePort: Number(groups['sport']),
    destination: groups['dst'] ?? '',
    destinationPort: Number(groups['dport']),
    packets: Number(groups['packets'] ?? 0),
    bytes: Number(groups['bytes'] ?? 0),
  };
}
