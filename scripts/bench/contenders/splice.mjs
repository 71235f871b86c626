// What the splices have in common: a middle that joins pipes two by two, and ends that run on a leg to it.
import { wireOf } from '../wire.mjs';
import { accepted, dialled } from './over-tls.mjs';

/** Joins each second pipe with the one before, by `pipe`, and does nothing else. */
export function joining() {
  let waiting;
  return (pipe) => {
    pipe.on('error', () => {});
    if (waiting === undefined) waiting = pipe;
    else {
      waiting.pipe(pipe).pipe(waiting);
      waiting = undefined;
    }
  };
}

/** @param {(port: number) => Promise<import('node:stream').Duplex>} leg opens a pipe to the middle */
export function endsOf(leg) {
  const listen = async (port, variant, onWire) => onWire(wireOf(accepted(await leg(port), variant)));
  const dial = async (_address, port, variant) => async () => wireOf(await dialled(await leg(port), variant));
  return { listen, dial };
}
