import type { RemoteInfo } from 'node:dgram';
import { formatEndpoint } from '../../src/core/endpoint.ts';
import type { StreamPurpose } from '../../src/core/protocol/open.ts';
import { DatagramFlows, type DatagramFlowsOptions } from './datagram-flows.ts';
import type { Listening } from './forward.ts';
import { bindUdp } from './listener.ts';

/**
 * Listens for datagrams; each client's are one flow over there, and what comes back goes to that client.
 * @throws SallyportError `PORT_IN_USE`, `USAGE`
 */
export async function startUdpForward(
  place: { bind: string; port: number },
  purpose: StreamPurpose,
  options: DatagramFlowsOptions,
): Promise<Listening> {
  const socket = await bindUdp(place);
  const flows = new DatagramFlows(options);
  const onMessage = (bytes: Buffer, { address, port }: RemoteInfo) =>
    // A client that is gone is told of by ICMP, which is nobody's failure here.
    flows.send(`${address}:${port}`, purpose, bytes, (answer) =>
      socket.send(answer, port, address, () => {}),
    );
  socket.on('message', onMessage);
  socket.on('error', () => {});
  return {
    listen: formatEndpoint(socket.address()),
    close: async () => {
      socket.off('message', onMessage);
      await flows.close();
      await new Promise<void>((resolve) => {
        socket.close(resolve);
      });
    },
  };
}
