// Echoes what each connection sends: node echo.mjs [host] [port], prints the port.
import { createServer } from 'node:net';

const [host = '127.0.0.1', port = '0'] = process.argv.slice(2);
const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
  socket.on('error', () => socket.destroy());
  socket.pipe(socket);
});
server.listen(Number(port), host, () => process.stdout.write(`${server.address().port}\n`));
