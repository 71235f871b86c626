import { UNMEASURED, type TransportProfile } from './behavior.ts';
import { addFinding, mergeSurvey } from './merge.ts';

/**
 * What is known by one transport of the NATs on the way out: the newest diagnosis, and what surveys have found since
 * the network was last seen to be another one.
 */
export class MeasuredNat {
  #diagnosed = UNMEASURED;
  /** The newest diagnosis of which anything came: between two networks there is often none. */
  #reached = UNMEASURED;
  #found: Partial<TransportProfile> = {};

  get profile(): TransportProfile {
    return mergeSurvey(this.#diagnosed, this.#found);
  }

  /** The newest diagnosis by itself. */
  get diagnosed(): TransportProfile {
    return this.#diagnosed;
  }

  /** How long an idle mapping lives, as surveys have found. */
  get lifetimeSeconds(): number | undefined {
    return this.#found.lifetimeSeconds;
  }

  /** @returns whether this is another network, so that surveys are due again */
  diagnose(diagnosed: TransportProfile): boolean {
    const isAnother = isAnotherNetwork(mergeSurvey(this.#reached, this.#found), diagnosed);
    if (isAnother) this.#found = {};
    this.#diagnosed = diagnosed;
    if (diagnosed.reachable === true) this.#reached = diagnosed;
    return isAnother;
  }

  add(found: Partial<TransportProfile>): void {
    this.#found = addFinding(this.#found, found);
  }
}

/** Nothing is left of what the NAT was; what surveys found goes with it. */
function isAnotherNetwork(before: TransportProfile, after: TransportProfile): boolean {
  if (before.reachable !== true || after.reachable !== true) return false;
  const isKnown = after.publicAddresses.some((address) => before.publicAddresses.includes(address));
  const mappings = [before.mapping, after.mapping];
  return !isKnown || (before.mapping !== after.mapping && !mappings.includes('unknown'));
}
