// A port here that leads to a web server at the other peer.
import { once } from 'node:events';
import { createServer as createWebServer } from 'node:http';
import { createServer } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { Peer, Rendezvous } from 'sallyport';

const rendezvous = await Rendezvous.start({ listen: '127.0.0.1:0', insecure: true, open: true });

// bob's side: a web server that listens on loopback only, and is exposed under a name
const web = createWebServer((_, response) => response.end('a page of bob’s')).listen(0, '127.0.0.1');
await once(web, 'listening');
const bob = await Peer.start({ home: 'bob', rendezvous: rendezvous.url, allow: ['any'] });
bob.expose('web', `127.0.0.1:${web.address().port}`);

// alice's side: each connection to her port becomes a stream
const alice = await Peer.start({ home: 'alice', rendezvous: rendezvous.url });
const session = await alice.connect(bob.id);
const port = createServer({ allowHalfOpen: true }, async (socket) => {
  try {
    const stream = await session.open('web');
    await Promise.all([pipeline(socket, stream), pipeline(stream, socket)]);
  } catch {
    socket.destroy(); // either end broke off, or the session is over
  }
}).listen(0, '127.0.0.1');
await once(port, 'listening');

const response = await fetch(`http://127.0.0.1:${port.address().port}/`, {
  headers: { connection: 'close' },
});
console.log(await response.text());

port.close();
await alice.close();
await bob.close();
web.close();
await rendezvous.close();
