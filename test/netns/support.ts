import { runCommand } from './commands.ts';

export type LabSupport = { ok: true; rootless: boolean } | { ok: false; reason: string };

let answer: Promise<LabSupport> | undefined;

/** Whether this machine can run the lab, tried for real and once: as root, else in a user namespace. */
export function labSupport(): Promise<LabSupport> {
  answer ??= probe();
  return answer;
}

async function probe(): Promise<LabSupport> {
  const missing = await runCommand(['sh', '-c', MISSING_TOOLS]);
  if (missing.stdout.trim() !== '') {
    return { ok: false, reason: `missing commands: ${missing.stdout.trim().split('\n').join(', ')}` };
  }
  const attempts = [{ command: ['unshare', '-n'], rootless: false }];
  attempts.push({ command: ['unshare', '-U', '-r', '-n'], rootless: true });
  let reason = '';
  for (const { command, rootless } of attempts) {
    const result = await runCommand([...command, 'sh', '-e', '-c', TRIAL]);
    if (result.code === 0) return { ok: true, rootless };
    reason = result.stderr.trim();
  }
  return { ok: false, reason: `no network namespaces with NAT here: ${reason}` };
}

const MISSING_TOOLS = `
for tool in unshare nsenter setpriv ip nft conntrack; do command -v $tool >/dev/null || echo $tool; done
`;

/** The least of everything that the lab uses: links, forwarding, translation, a bridge. */
const TRIAL = `
ip link add left type veth peer name right
ip link add lan type bridge
echo 1 > /proc/sys/net/ipv4/ip_forward
nft add table ip trial
nft 'add chain ip trial outward { type nat hook postrouting priority srcnat; }'
nft add rule ip trial outward snat to 198.51.100.1 fully-random
conntrack -L
`;
