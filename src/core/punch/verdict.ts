import { dependenceWords } from '../nat/words.ts';
import type { NatProfile, TransportProfile } from '../nat/behavior.ts';
import type { Obstacle, ReasonCode, TransportObstacle } from './obstacle.ts';
import { hasDependentMapping, sharesPublicAddress } from './situation.ts';

/** Why a session isn't direct, for people and for programs. */
export interface Verdict {
  /** UDP's, which gets through where anything does; TCP's where UDP isn't allowed. */
  readonly code: ReasonCode;
  /** One line: each transport's reason, and what would make it direct. */
  readonly text: string;
  readonly obstacles: readonly TransportObstacle[];
}

/** What a round without a direct path comes to, in the words of this end. */
export function verdictOf(
  obstacles: readonly TransportObstacle[],
  here: NatProfile,
  there: NatProfile,
): Verdict {
  const met = obstacles.map((obstacle) => hairpinOf(obstacle, here, there));
  const [udp, tcp] = (['udp', 'tcp'] as const).map((wanted) =>
    met.find(({ transport }) => transport === wanted),
  );
  const code = (udp?.code === 'NOT_ALLOWED' ? tcp : udp)?.code ?? tcp?.code ?? 'NOT_THROUGH';
  const reasons = new Map<string, string[]>();
  for (const obstacle of met) {
    const { transport } = obstacle;
    const reason = reasonWords(obstacle, here[transport], there[transport]);
    reasons.set(reason, [...(reasons.get(reason) ?? []), transport]);
  }
  const remedies = new Set(met.flatMap(({ remedy }) => remedy ?? []));
  const parts = [
    ...[...reasons].map(([reason, transports]) => `${transports.join(' and ')}: ${reason}`),
    ...remedies,
  ];
  return { code, text: parts.join('; ') || 'nothing answered', obstacles: met };
}

/** Behind one NAT there is nothing else that could have stopped it. */
function hairpinOf(obstacle: TransportObstacle, here: NatProfile, there: NatProfile): TransportObstacle {
  const { code, transport } = obstacle;
  const isShared = sharesPublicAddress(here[transport], there[transport]);
  return code === 'NOT_THROUGH' && isShared ? { transport, ...NO_HAIRPIN } : obstacle;
}

const NO_HAIRPIN: Obstacle = {
  code: 'NO_HAIRPIN',
  reason: 'both peers are behind the same NAT, and it carried nothing from one inner host to another',
  remedy:
    'a network in which the two hosts reach each other, or a NAT with hairpinning, would make it direct',
};

function reasonWords(
  { code, transport, reason }: TransportObstacle,
  here: TransportProfile,
  there: TransportProfile,
): string {
  switch (code) {
    case 'BOTH_UNPREDICTABLE':
      return bothWords(here, there) ?? reason;
    case 'ONE_UNPREDICTABLE':
      return oneWords(here, there) ?? reason;
    case 'UDP_BLOCKED':
    case 'TCP_BLOCKED':
      return blockedWords(transport.toUpperCase(), here, there);
    case 'NO_COMMON_FAMILY':
      return here.reachable === false
        ? 'your network lets it out over IPv6 alone, and the other one over IPv4 alone'
        : 'your network lets it out over IPv4 alone, and the other one over IPv6 alone';
    case 'NOT_ALLOWED':
    case 'NO_HAIRPIN':
    case 'NOT_THROUGH':
      return reason;
  }
}

function bothWords(here: TransportProfile, there: TransportProfile): string | undefined {
  if (!hasDependentMapping(here) || !hasDependentMapping(there)) return undefined;
  const [ours, theirs] = [dependenceWords(here), dependenceWords(there)];
  return ours === theirs
    ? `your NAT ${ours}, and so does the other one`
    : `your NAT ${ours}; the other one ${theirs}`;
}

function oneWords(here: TransportProfile, there: TransportProfile): string | undefined {
  const strict = 'lets in only ports that it sent to';
  if (hasDependentMapping(here)) return `your NAT ${dependenceWords(here)}, and the other one ${strict}`;
  if (hasDependentMapping(there)) return `the other NAT ${dependenceWords(there)}, and yours ${strict}`;
  return undefined;
}

function blockedWords(transport: string, here: TransportProfile, there: TransportProfile): string {
  if (here.reachable !== false) return `the other network lets no ${transport} out`;
  return there.reachable === false
    ? `neither network lets ${transport} out`
    : `your network lets no ${transport} out`;
}
