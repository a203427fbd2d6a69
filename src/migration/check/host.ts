/** The way to the ESXi host that the data comes from. */
import { connect } from "node:net";
import type { Config } from "../../config.ts";
import { MigratekitError, messageOf } from "../../errors.ts";
import type { VmDetails } from "../../vmware/vm-details.ts";
import type { VsphereClient } from "../../vmware/vmware.ts";
import { type Finding, ok, warning } from "./finding.ts";

/** VDDK fetches data from the ESXi host's own name, whatever endpoint was logged in to. */
export async function checkHost(
  client: VsphereClient,
  vm: VmDetails,
  { vmwareEndpoint, vddkNfcPort: port }: Pick<Config, "vmwareEndpoint" | "vddkNfcPort">,
  signal: AbortSignal,
): Promise<Finding[]> {
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
  throw new MigratekitError(
    "source-unreachable",
    `the ESXi host ${name} that holds the VM cannot be reached on port ${port}: ${answer}`,
    { context: { host: name, port } },
  );
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
