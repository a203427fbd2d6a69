/** The service instance and the managers behind it. */

import { managerRef } from "./inventory-names.ts";
import type { LabCore } from "./lab-core.ts";
import type { ManagedObject } from "./managed-object.ts";
import { productOf } from "./product.ts";
import type { Session } from "./sessions.ts";
import { Moref, type VimObject, type VimValue, vimObject } from "./vim-values.ts";

export const serviceInstance = new Moref("ServiceInstance", "ServiceInstance");

function about(lab: LabCore): VimObject {
  const { apiType, release } = lab.inventory;
  const isHost = apiType === "HostAgent";
  return vimObject("AboutInfo", {
    ...productOf(isHost, release.version),
    apiType,
    apiVersion: release.apiVersion,
    instanceUuid: isHost ? undefined : lab.instanceUuid,
  });
}

export function serviceContent(lab: LabCore): VimObject {
  const { apiType, names } = lab.inventory;
  const manager = (type: string) => managerRef(type, apiType);
  return vimObject("ServiceContent", {
    rootFolder: names.rootFolder,
    propertyCollector: manager("PropertyCollector"),
    viewManager: manager("ViewManager"),
    about: about(lab),
    sessionManager: manager("SessionManager"),
    authorizationManager: manager("AuthorizationManager"),
    taskManager: manager("TaskManager"),
    licenseManager: manager("LicenseManager"),
    searchIndex: manager("SearchIndex"),
  });
}

/** Everything a property collector can be asked about. */
export function findObject(
  lab: LabCore,
  session: Session | undefined,
  ref: Moref,
): ManagedObject | undefined {
  if (ref.type === "Task") return lab.tasks.find(ref.value);
  return session?.views.get(ref.value) ?? manager(lab, session, ref) ?? lab.inventory.find(ref);
}

function manager(
  lab: LabCore,
  session: Session | undefined,
  ref: Moref,
): ManagedObject | undefined {
  const property = managerProperties(lab, session, ref);
  return property && { ref, property };
}

type PropertyOf = (name: string) => VimValue | undefined;

function managerProperties(
  lab: LabCore,
  session: Session | undefined,
  ref: Moref,
): PropertyOf | undefined {
  switch (ref.type) {
    case "ServiceInstance":
      return (name) =>
        name === "content" ? serviceContent(lab) : name === "serverClock" ? new Date() : undefined;
    case "SessionManager":
      return (name) => {
        if (!session) return undefined;
        if (name === "currentSession") return session.userSession();
        if (name === "sessionList") return lab.sessions.all().map((other) => other.userSession());
        return name === "defaultLocale" ? "en" : undefined;
      };
    case "LicenseManager":
      return (name) => (name === "licenses" ? [license(lab)] : undefined);
    case "TaskManager":
      return (name) =>
        name === "recentTask" ? lab.tasks.all().map((task) => task.ref) : undefined;
    case "PropertyCollector":
    case "ViewManager":
    case "SearchIndex":
    case "AuthorizationManager":
      return () => undefined;
    default:
      return undefined;
  }
}

function license(lab: LabCore): VimObject {
  const free = lab.faults.peek("freeLicense") !== undefined;
  return vimObject("LicenseManagerLicenseInfo", {
    licenseKey: "00000-00000-00000-00000-00000",
    editionKey: free ? "esxBasic" : "esx.enterprisePlus.cpuPackage",
    name: free ? "vSphere Hypervisor" : "vSphere Enterprise Plus",
    total: 0,
    used: 2,
    costUnit: "cpuPackage",
  });
}
