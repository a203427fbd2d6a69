/** What an operator's commands have in common: the database that is meant, and the VMs. */

import type { Logger } from "pino";
import { type Config, requireSettings } from "../config.ts";
import { MigratekitError } from "../errors.ts";
import { FleetStore, type Selection } from "./database/store.ts";

/** @throws MigratekitError `usage` where no database was named, or it cannot be one */
export async function openFleet(config: Config, logger: Logger): Promise<FleetStore> {
  requireSettings(config, "fleet-database");
  const { fleetDatabase, fleetDatabasePasswordFile, command } = config;
  return FleetStore.open(fleetDatabase!, fleetDatabasePasswordFile, logger, {
    application: `migratekit ${command}`,
  });
}

/** @throws MigratekitError `usage` where nothing was selected: 'all' has to be said */
export function selectionOf({ all, wave, vm }: Config): Selection {
  if (all && (wave !== undefined || vm !== undefined)) {
    throw new MigratekitError("usage", "--all goes with neither --wave nor --vm");
  }
  if (all) return { all: true };
  if (wave === undefined && vm === undefined) {
    throw new MigratekitError("usage", "it is not said which VMs are meant", {
      remedy: "Give --vm NAME, --wave NAME or --all.",
    });
  }
  return { ...(wave ? { waves: wave } : {}), ...(vm ? { vms: vm } : {}) };
}
