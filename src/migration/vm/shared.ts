/** What the runs of several VMs in one process share. */
import { MigratekitError } from "../../errors.ts";
import { HostConnections, planConnections } from "./host-connections.ts";
import type { Run } from "./run.ts";
import type { UndoStack } from "./undo.ts";

/**
 * The run with as many connections as its VM's host has left for it; waits for them where others hold
 * them. They are given back when `undo` unwinds, after nbdkit has ended.
 */
export async function reserveConnections(
  run: Run,
  diskCount: number,
  undo: UndoStack,
): Promise<Run> {
  const { config, site, signal, reporter } = run;
  const hosts = run.shared?.hosts ?? new HostConnections(config.hostConnections);
  const plan = planConnections(config, diskCount, hosts);
  const host = site.vm.host.name;
  const held = await hosts.acquire(`${site.endpoint} ${site.vm.host.moref}`, plan.total, {
    signal,
    onWait: () => {
      reporter.stage("Discover", `waiting for connections to ${host}`);
      run.logger.info({ host, connections: plan.total }, `waiting for connections to ${host}`);
    },
  });
  undo.use("give the host's connections back", held);
  run.logger.debug({ host, ...plan }, "connections to the host");
  const { parallelDisks, sourceConnections } = plan;
  return { ...run, config: { ...config, parallelDisks, sourceConnections } };
}

/** @throws MigratekitError `usage` where another VM of this process writes to one of them */
export function claimTargets(run: Run, identities: readonly string[]): void {
  const claims = run.shared?.targets;
  if (claims === undefined) return;
  for (const identity of identities) {
    const other = claims.get(identity);
    if (other !== undefined && other !== run.site.vmPath) {
      throw new MigratekitError("usage", `the target ${identity} belongs to ${other} already`, {
        remedy: "Give every disk of every VM in the list a target of its own.",
      });
    }
    claims.set(identity, run.site.vmPath);
  }
}
