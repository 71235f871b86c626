// Many connections to an echo server at once:
//   node crowd.mjs host:port
// Reads from stdin `open <count>`, which opens as many more, each of which sends a byte that is to come back;
// `ask`, which prints {"open":…,"served":…,"failed":…}; and `close`, which closes all of them and forgets the counts.
import { connect } from 'node:net';
import { createInterface } from 'node:readline';

const [host, port] = process.argv[2].split(':');
let crowd = [];

function join() {
  const member = { state: 'open', socket: connect({ host, port: Number(port), noDelay: true }) };
  member.socket.on('connect', () => member.socket.write('x'));
  member.socket.on('data', () => (member.state = 'served'));
  member.socket.on('error', () => {});
  member.socket.on('close', () => (member.state = 'failed'));
  return member;
}

const count = (wanted) => crowd.filter(({ state }) => state === wanted).length;

createInterface({ input: process.stdin }).on('line', (line) => {
  const [command, number] = line.split(' ');
  if (command === 'open') for (let n = 0; n < Number(number); n++) crowd.push(join());
  if (command === 'ask')
    process.stdout.write(
      `${JSON.stringify({ open: count('open'), served: count('served'), failed: count('failed') })}\n`,
    );
  if (command === 'close') {
    for (const { socket } of crowd) socket.destroy();
    crowd = [];
  }
});
process.stdout.write(`${JSON.stringify({ ready: true })}\n`);
