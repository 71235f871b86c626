// Two sessions in one process, 3 GiB from one to the other; says when the first 1.5 have passed.
import { NO_BYTES } from '../../../../src/core/byte-count.ts';
import { SessionMachine } from '../../../../src/core/session/session.ts';
import type { SessionOutput } from '../../../../src/core/session/events.ts';

const GIB = 2 ** 30;
const CHUNK = Buffer.alloc(64 * 1024);
const sessionId = Buffer.alloc(16, 1);
const path = { id: 1, kind: 'tcp', direct: true } as const;
const sender = new SessionMachine({ role: 'initiator', sessionId }, 0);
const receiver = new SessionMachine({ role: 'responder', sessionId }, 0);
const [now, step] = [() => clock, 0.25];
let clock = 0.5;
let received = NO_BYTES;
let mayWrite = true;

function take(from: SessionMachine, to: SessionMachine, output: SessionOutput): void {
  if (output.type === 'transmit') {
    for (const bytes of output.chunks) to.handle({ type: 'path-bytes', path: 1, bytes }, now());
    from.handle({ type: 'path-written', path: 1, bytes: output.bytes }, now());
  } else if (output.type === 'data') {
    received += output.bytes.length;
    from.handle({ type: 'consumed', stream: output.stream, bytes: output.bytes.length }, now());
  } else if (output.type === 'drained') mayWrite = true;
}

/** Until neither has anything more to say. */
function exchange(): void {
  for (let more = true; more;) {
    more = false;
    for (const [from, to] of [
      [sender, receiver],
      [receiver, sender],
    ] as const) {
      for (let output = from.poll(); output !== undefined; output = from.poll()) {
        more = true;
        take(from, to, output);
      }
    }
  }
}

for (const machine of [sender, receiver]) machine.handle({ type: 'path-up', path }, now());
exchange();
const stream = sender.reserveStream();
sender.handle({ type: 'open', stream, header: CHUNK.subarray(0, 1) }, now());
exchange();
for (let halfway = false; ;) {
  clock += step;
  for (const machine of [sender, receiver]) {
    if ((machine.deadline ?? Infinity) <= clock) machine.handleTimeout(clock);
  }
  if (mayWrite) {
    mayWrite = false;
    sender.handle({ type: 'write', stream, chunks: [CHUNK, CHUNK] }, clock);
  }
  exchange();
  if (received >= 3 * GIB) break;
  if (halfway || received < 1.5 * GIB) continue;
  halfway = true;
  console.log('halfway');
}
