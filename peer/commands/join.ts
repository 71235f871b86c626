import { stopSignal } from '../../src/cli/run.ts';
import { asSallyportError, type ErrorCode } from '../../src/core/errors.ts';
import { parseRendezvousUrl } from '../../src/core/rendezvous-url.ts';
import { systemClock } from '../../src/net/clock.ts';
import { tryRendezvous } from '../deployment.ts';
import { Home } from '../home.ts';
import { SettingsFile } from '../settings.ts';
import { patiently, readToken, reporterOf, reportPin, type SharedOptions } from './shared.ts';

/** `peer join <url>`: a rendezvous that refuses this peer isn't remembered, one that can't be reached now is. */
export async function joinByUrl(text: string, options: SharedOptions): Promise<void> {
  const home = new Home(options.home);
  const reporter = reporterOf(options);
  const { url, id, token = options.tokenFile && readToken(options.tokenFile) } = parseRendezvousUrl(text);
  const rendezvous = { url, id, token };
  const settings = new SettingsFile(home.settingsFile);
  const identity = home.identity();
  const signal = stopSignal({ finishes: true });
  const admission = tryRendezvous(rendezvous, { identity, settings, clock: systemClock, signal });
  let words = `joined ${url}\nthis peer is ${identity.id}`;
  let reached = true;
  try {
    reportPin(await patiently('rendezvous', admission, reporter), reporter);
  } catch (thrown) {
    const { code, message, hint } = asSallyportError(thrown);
    if (!UNANSWERED.includes(code)) throw thrown;
    reached = false;
    const remedy = hint === undefined ? '' : `; ${hint}`;
    words = `${url} is remembered, but did not answer: ${message}${remedy}\nthis peer is ${identity.id}`;
    if (id === undefined) words += '\nits key is not in the URL: the first one seen will be trusted';
  }
  settings.remember(rendezvous);
  reporter.report({ url, id: identity.id, deployment: id, reached }, words);
}

const UNANSWERED: readonly ErrorCode[] = ['RENDEZVOUS_UNREACHABLE', 'TIMEOUT'];
