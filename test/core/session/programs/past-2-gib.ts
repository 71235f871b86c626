// Two sessions in one process, 3 GiB from one to the other; says when the first 1.5 have passed: then three seconds are over, and the path has been full all the time.
import { ZERO } from '../../../../src/core/zero.ts';
import { SessionMachine } from '../../../../src/core/session/session.ts';

const GIB = 2 ** 30;
const CHUNK = Buffer.alloc(64 * 1024);
const sessionId = Buffer.alloc(16, 1);
const path = { id: 1, kind: 'tcp', direct: true } as const;
const sender = new SessionMachine({ role: 'initiator', sessionId }, 0);
const receiver = new SessionMachine({ role: 'responder', sessionId }, 0);
let clock = 0.5;
let received = ZERO;
let mayWrite = true;

/** All that one end has to say at this moment; what it hands to the path leaves before the next. */
function say(from: SessionMachine, to: SessionMachine): void {
  let written = 0;
  for (let output = from.poll(); output !== undefined; output = from.poll()) {
    if (output.type === 'transmit') {
      for (const bytes of output.chunks) to.handle({ type: 'path-bytes', path: 1, bytes }, clock);
      written += output.bytes;
    } else if (output.type === 'data') {
      received += output.bytes.length;
      from.handle({ type: 'consumed', stream: output.stream, bytes: output.bytes.length }, clock);
    } else if (output.type === 'drained') mayWrite = true;
  }
  clock += 0.25;
  from.handle({ type: 'path-written', path: 1, bytes: written }, clock);
}

for (const machine of [sender, receiver]) machine.handle({ type: 'path-up', path }, clock);
const stream = sender.reserveStream();
sender.handle({ type: 'open', stream, header: CHUNK.subarray(0, 1) }, clock);
for (let halfway = false; ;) {
  for (const machine of [sender, receiver]) {
    if ((machine.deadline ?? Infinity) <= clock) machine.handleTimeout(clock);
  }
  if (mayWrite) {
    mayWrite = false;
    sender.handle({ type: 'write', stream, chunks: Array<Buffer>(16).fill(CHUNK) }, clock);
  }
  say(sender, receiver);
  say(receiver, sender);
  if (received >= 3 * GIB) break;
  if (halfway || received < 1.5 * GIB) continue;
  halfway = true;
  console.log('halfway', clock);
}
console.log('end', clock);
