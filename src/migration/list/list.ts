/** The VMs of a list, some at a time; one that fails does not stop the others. */
import type { Logger } from "pino";
import type { Config } from "../../config.ts";
import type { Ending } from "../../ending.ts";
import { exitCodes, messageOf } from "../../errors.ts";
import { codeOf, exitCodeOf as codeToExitWith, Interruption } from "../../interruption.ts";
import { redact } from "../../logger.ts";
import { mapLimited } from "../../map-limited.ts";
import { runCycle } from "../cycle/cycle.ts";
import type { CycleSummary } from "../cycle/summary.ts";
import { openEngine } from "../engine.ts";
import type { Reporter, SharedResources } from "../vm/held-vm.ts";
import { HostConnections } from "../vm/host-connections.ts";
import type { ListedVm } from "./read-list.ts";

export interface ListContext {
  /** Of the process as a whole; each VM has its own. */
  readonly config: Config;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** Does one VM's cycle under a reporter of its own, and gives back what that gives or throws. */
  readonly report: (
    vm: ListedVm,
    logger: Logger,
    cycle: (reporter: Reporter) => Promise<CycleSummary>,
    tell: (ending: Ending) => void,
  ) => Promise<CycleSummary>;
}

export interface VmResult {
  readonly vm: ListedVm;
  /** `not_started`: a signal came first. */
  readonly status: "completed" | "failed" | "interrupted" | "not_started";
  readonly durationMs: number;
  /** Of its run, however that ended; absent where none was begun. */
  readonly ending?: Ending;
  readonly error?: unknown;
}

/** What became of each VM, in the list's order. Rejects for nothing that concerns one of them alone. */
export async function runList(
  context: ListContext,
  vms: readonly ListedVm[],
): Promise<readonly VmResult[]> {
  const { config } = context;
  using engine = openEngine(config, context.logger);
  const shared: SharedResources = {
    engine,
    hosts: new HostConnections(config.hostConnections, Math.min(config.parallelVms, vms.length)),
    targets: new Map(),
  };
  return await mapLimited(vms, config.parallelVms, (vm) => runOne(context, vm, shared));
}

async function runOne(
  { logger: parent, signal, report }: ListContext,
  vm: ListedVm,
  shared: SharedResources,
): Promise<VmResult> {
  if (signal.aborted) return { vm, status: "not_started", durationMs: 0, error: signal.reason };
  const { config } = vm;
  const logger = parent.child({ vm: vm.name });
  const startedMs = performance.now();
  const spent = () => Math.round(performance.now() - startedMs);
  let ending: Ending | undefined;
  const known = () => (ending ? { ending } : {});
  try {
    await report(
      vm,
      logger,
      (reporter) => runCycle({ config, logger, signal, reporter, shared }),
      (told) => {
        ending = told;
      },
    );
    return { vm, status: "completed", ...known(), durationMs: spent() };
  } catch (error) {
    const status = error instanceof Interruption ? "interrupted" : "failed";
    const code = codeOf(error);
    logger.error({ code }, `${vm.name}: ${status}: ${redact(messageOf(error))}`);
    // A bug's stack is all there is to go by.
    if (code === "bug") logger.error({ error });
    return { vm, status, error, ...known(), durationMs: spent() };
  }
}

/** The exit code that a run of this VM alone would have ended with. */
export function exitCodeOf({ status, error }: VmResult): number {
  return status === "completed" ? exitCodes.success : codeToExitWith(error);
}
