import * as v from 'valibot';
import { abortSignal, optionsOf, texts, waitingMs } from '../src/core/check-options.ts';
import { isServiceName } from '../src/core/protocol/open.ts';

const aFunction = v.function();
const signal = v.optional(abortSignal);
const serviceName = v.custom<string>(isServiceName, 'expected a text of 1 to 253 characters');

export const peerOptions = optionsOf({
  home: v.optional(v.string()),
  rendezvous: v.optional(v.union([v.string(), texts])),
  allow: v.optional(texts),
  name: v.optional(v.string()),
  role: v.optional(v.picklist(['listen', 'dial'])),
  portMapping: v.optional(v.boolean()),
  signal,
});

/** What is given to a call to another peer. */
const reaching = { paths: v.optional(texts), signal };
export const callOptions = v.object({
  to: v.string(),
  options: optionsOf({ ...reaching, acceptName: v.optional(v.boolean()) }),
});
export const acceptOptions = v.object({
  to: v.string(),
  options: optionsOf({ ...reaching, services: v.optional(texts) }),
});

export const inviteOptions = optionsOf({ services: v.optional(texts) });

export const waitingOptions = optionsOf({ signal });
export const pingOptions = optionsOf({
  timeout: v.optional(waitingMs),
  timeoutMs: v.optional(waitingMs),
  signal,
});
export const whenDirectOptions = optionsOf({ timeout: v.optional(waitingMs), signal });

export const handlerOptions = v.object({ name: serviceName, handler: aFunction });
export const exposeOptions = v.object({ name: v.string(), target: v.string() });
export const pipeOptions = v.object({ take: aFunction });
const exposure = v.union([v.literal('any'), v.object({ name: v.string(), target: v.object({}) })]);
const permit = v.object({ bind: v.string(), port: v.number() });
export const exposureOptions = v.object({ exposure });
export const permitOptions = v.object({ permit });
export const reconfiguration = optionsOf({
  allow: texts,
  exposures: v.array(exposure),
  permits: v.array(permit),
});
