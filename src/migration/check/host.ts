/** The way to the ESXi host that the data comes from. */
import { connect } from "node:net";
import type { Config } from "../../config.ts";
import { MigratekitError, messageOf } from "../../errors.ts";
import type { VmDetails } from "../../vmware/vm-details.ts";
import type { VsphereClient } from "../../vmware/vmware.ts";
import { type Finding, ok, warning } from "./finding.ts";

/**
 * VDDK fetches data from the ESXi host's own name, whatever endpoint was logged in to; with hotadd or san
 * it comes another way.
 * @throws MigratekitError `source-unreachable` where there is no other way; the signal's reason
 */
export async function checkHost(
  client: VsphereClient,
  vm: VmDetails,
  {
    vmwareEndpoint,
    vddkNfcPort: port,
    vddkTransports,
  }: Pick<Config, "vmwareEndpoint" | "vddkNfcPort" | "vddkTransports">,
  signal: AbortSignal,
): Promise<Finding[]> {
  const { overNetwork, otherWays } = waysOf(vddkTransports);
  if (!overNetwork) {
    return [ok("host", `--vddk-transports ${vddkTransports} needs no way to port ${port}`)];
  }
  const isHost = client.about.apiType === "HostAgent";
  const name = isHost ? (vmwareEndpoint?.host ?? "") : vm.host.name;
  if (name === "") {
    return [
      warning(
        "host",
        "the name of the VM's ESXi host may not be read, so the way to it was not tried",
        `Grant System.Read on the host, or see to it that TCP port ${port} of it is open from here.`,
      ),
    ];
  }
  const answer = await greeting(name, port, signal);
  signal.throwIfAborted();
  if (answer === "greeted") return [ok("host", `${name}:${port} answers`)];
  if (answer === "silent") {
    return [
      warning(
        "host",
        `${name}:${port} accepts connections and says nothing for ${greetingTimeoutMs / 1000} s`,
        "Check the name resolution of the ESXi host, which looks up who connects.",
      ),
    ];
  }
  const away = `the ESXi host ${name} that holds the VM cannot be reached on port ${port}: ${answer}`;
  if (otherWays.length > 0) {
    const others = otherWays.join(" and ");
    return [
      warning(
        "host",
        `${away}; ${others} alone would have to do`,
        `Open TCP port ${port} of the host from here, or leave nbdssl and nbd out of --vddk-transports.`,
      ),
    ];
  }
  throw new MigratekitError("source-unreachable", away, { context: { host: name, port } });
}

/** What VDDK is allowed to try: over the network, and what else leads to a disk of another machine. */
function waysOf(transports: string): { overNetwork: boolean; otherWays: string[] } {
  const modes = transports.split(":").map((mode) => mode.trim().toLowerCase());
  const otherWays = modes.filter((mode) => mode === "hotadd" || mode === "san");
  // A mode that is not known here is VDDK's to refuse.
  const overNetwork = modes.some((mode) => mode.startsWith("nbd")) || otherWays.length === 0;
  return { overNetwork, otherWays };
}

const greetingTimeoutMs = 5000;

/** `greeted`, `silent`, or why there is no connection. */
async function greeting(host: string, port: number, signal: AbortSignal): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const socket = connect({ host, port });
  let connected = false;
  const timer = setTimeout(
    () => resolve(connected ? "silent" : `no answer within ${greetingTimeoutMs} ms`),
    greetingTimeoutMs,
  );
  const stop = () => resolve("interrupted");
  signal.addEventListener("abort", stop);
  socket.once("connect", () => {
    connected = true;
  });
  socket.once("data", () => resolve("greeted"));
  socket.once("error", (error) => resolve(messageOf(error)));
  socket.once("close", () => resolve(connected ? "it closes the connection at once" : "closed"));
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", stop);
    socket.destroy();
  }
}
