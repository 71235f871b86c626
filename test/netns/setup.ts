import type { Namespaces } from './namespaces.ts';
import type { Interface, Link, Node, Topology } from './topology.ts';

/** Builds a planned topology in its namespaces: all links by one command, then every node by one script. */
export async function setUp(namespaces: Namespaces, { nodes, links }: Topology): Promise<void> {
  await namespaces.run('core', ipBatch(links.map((link) => linkCommand(namespaces, link))));
  await Promise.all([...nodes].map(([name, node]) => namespaces.run(name, nodeScript(node))));
}

function linkCommand(namespaces: Namespaces, [left, leftInterface, right, rightInterface]: Link): string {
  const leftEnd = `name ${leftInterface} netns ${namespaces.pid(left)}`;
  return `link add ${leftEnd} type veth peer name ${rightInterface} netns ${namespaces.pid(right)}`;
}

function nodeScript(node: Node): string {
  const routes = node.routes.map((route) => `route add ${route}`);
  const commands = ['link set lo up', ...node.interfaces.flatMap(interfaceCommands), ...routes];
  const rules = node.rules === '' ? '' : `nft -f - <<'RULES'\n${node.rules}\nRULES\n`;
  // Rules come first: loading them starts connection tracking, whose settings only exist from then on.
  return rules + settingsScript(node) + ipBatch(commands);
}

function interfaceCommands({ name, addresses, ports = [], isolated = false }: Interface): string[] {
  return [
    ...(ports.length > 0 ? [`link add ${name} type bridge`] : []),
    ...ports.map((port) => `link set ${port} master ${name}`),
    ...(isolated ? ports.map((port) => `link set ${port} type bridge_slave isolated on`) : []),
    // Nobody else has it, so no time goes by in asking (RFC 4862 §5.4).
    ...addresses.map(
      (address) => `address add ${address} dev ${name}${address.includes(':') ? ' nodad' : ''}`,
    ),
    `link set ${name} up`,
  ];
}

function settingsScript(node: Node): string {
  const settings: [path: string, value: string][] = [
    ['ipv6/conf/all/disable_ipv6', hasIPv6(node) ? '0' : '1'],
    ['ipv6/conf/default/disable_ipv6', hasIPv6(node) ? '0' : '1'],
    ['ipv6/conf/all/accept_ra', '0'],
    ['ipv4/conf/all/rp_filter', '0'],
    ['ipv4/conf/default/rp_filter', '0'],
    // A router that carries a packet back into the LAN it came from would tell its source of the short way.
    ['ipv4/conf/all/send_redirects', '0'],
    ['ipv4/conf/default/send_redirects', '0'],
    // Where br_netfilter is loaded, a bridge would show what stays in a LAN to the rules for what is routed.
    ['bridge/bridge-nf-call-iptables', '0'],
  ];
  if (node.forwards) settings.push(['ipv4/ip_forward', '1']);
  if (node.forwards && hasIPv6(node)) settings.push(['ipv6/conf/all/forwarding', '1']);
  if (node.rules !== '') settings.push(['netfilter/nf_conntrack_acct', '1']);
  settings.push(...node.settings);
  // A kernel without IPv6 or br_netfilter has no such setting, which is as good.
  const write = ([path, value]: [string, string]) =>
    `if [ -e /proc/sys/net/${path} ]; then echo ${value} > /proc/sys/net/${path}; fi\n`;
  return settings.map(write).join('');
}

function hasIPv6({ interfaces }: Node): boolean {
  return interfaces.some(({ addresses }) => addresses.some((address) => address.includes(':')));
}

function ipBatch(commands: readonly string[]): string {
  return `ip -batch - <<'COMMANDS'\n${commands.join('\n')}\nCOMMANDS\n`;
}
