import type { SallyportError } from '../../src/core/errors.ts';
import { asSallyportError } from '../../src/core/errors.ts';
import { purposeText } from '../../src/core/protocol/open.ts';
import type { Session } from '../session.ts';
import { targetText } from '../target.ts';
import { startForward, type Listening } from './forward.ts';
import type { DynamicSpec, LocalSpec, RemoteSpec } from './forward-spec.ts';
import { askToListen } from './reverse.ts';
import { startSocks } from './socks.ts';
import { startUdpForward } from './udp-forward.ts';

/** Everything that one `peer connect` forwards. */
export interface ForwardSpecs {
  readonly local: readonly LocalSpec[];
  readonly remote: readonly RemoteSpec[];
  readonly dynamic: readonly DynamicSpec[];
}

/** What a forward is. */
export interface ForwardReport {
  readonly type: 'local' | 'remote' | 'dynamic';
  /** Where it listens: an endpoint, or a path. */
  readonly listen: string;
  /** Where it leads, in words. */
  readonly target: string;
}

/** A forward that is ready. */
export interface RunningForward extends ForwardReport, Listening {}

/** What people are told of one. */
export function forwardWords({ type, listen, target }: ForwardReport): string {
  switch (type) {
    case 'local':
      return `forwarding ${listen} to ${target}`;
    case 'remote':
      return `forwarding ${listen} over there to ${target} here`;
    case 'dynamic':
      return `${target} on ${listen}`;
  }
}

/**
 * Starts all of them or none.
 * @param onReady told of each as it can be used
 * @param onError told of what single connections fail with
 * @throws SallyportError what the first of them fails with
 */
export async function startForwards(
  specs: ForwardSpecs,
  session: Session,
  onReady: (forward: RunningForward) => void,
  onError: (error: SallyportError) => void,
): Promise<RunningForward[]> {
  const started: RunningForward[] = [];
  const add = async (type: RunningForward['type'], target: string, starting: Promise<Listening>) => {
    const { listen, close } = await starting.then((listening) => ({
      listen: listening.listen,
      close: () => listening.close(),
    }));
    const forward = { type, target, listen, close };
    started.push(forward);
    onReady(forward);
  };
  try {
    for (const spec of specs.local)
      await add('local', purposeText(spec.purpose), startLocal(spec, session, onError));
    for (const spec of specs.dynamic) await add('dynamic', 'SOCKS5', startSocks(spec, session, onError));
    for (const spec of specs.remote) {
      const stopped = (error: Error) => onError(asSallyportError(error));
      await add('remote', targetText(spec.target), askToListen(spec, session, stopped));
    }
    return started;
  } catch (thrown) {
    await Promise.all(started.map((forward) => forward.close()));
    throw thrown;
  }
}

function startLocal(
  { transport, place, purpose }: LocalSpec,
  session: Session,
  onError: (error: SallyportError) => void,
): Promise<Listening> {
  if (transport === 'udp' && 'port' in place)
    return startUdpForward(place, purpose, { opener: session, onError });
  return startForward(place, purpose, session, onError);
}
