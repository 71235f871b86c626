import { SallyportError } from '../../src/core/errors.ts';
import { purposeText, type StreamPurpose } from '../../src/core/protocol/open.ts';

/** Of several forwards' streams any may fail: what doesn't name its own target says where it led. */
export function leadingTo(purpose: StreamPurpose, error: SallyportError): SallyportError {
  const { code, message, hint } = error;
  const names = 'host' in purpose ? purpose.host : purposeText(purpose);
  if (message.includes(names)) return error;
  return new SallyportError(code, `${purposeText(purpose)}: ${message}`, { hint, cause: error });
}
