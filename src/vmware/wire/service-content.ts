/** What an endpoint is, where its managers are, and which version of the API to speak with it. */

import { MigratekitError } from "../../errors.ts";
import {
  type ObjectReference,
  object,
  optionalReference,
  optionalText,
  reference,
  text,
} from "./values.ts";

export interface About {
  readonly name: string;
  readonly fullName: string;
  readonly version: string;
  readonly apiVersion: string;
  readonly apiType: "VirtualCenter" | "HostAgent";
  /** Empty on an ESXi host. */
  readonly instanceUuid: string;
}

export interface ServiceContent {
  readonly about: About;
  readonly rootFolder: ObjectReference;
  readonly propertyCollector: ObjectReference;
  readonly sessionManager: ObjectReference;
  readonly searchIndex: ObjectReference;
  readonly viewManager: ObjectReference | undefined;
  readonly authorizationManager: ObjectReference | undefined;
  readonly licenseManager: ObjectReference | undefined;
}

/** What `RetrieveServiceContent` answers. */
export function readServiceContent(content: object): ServiceContent {
  const about = object(content, "about");
  const apiType = text(about, "apiType");
  if (apiType !== "VirtualCenter" && apiType !== "HostAgent")
    throw new MigratekitError(
      "vsphere-protocol",
      "the endpoint is neither a vCenter nor an ESXi host",
    );
  return {
    about: {
      name: text(about, "name"),
      fullName: text(about, "fullName"),
      version: text(about, "version"),
      apiVersion: text(about, "apiVersion"),
      apiType,
      instanceUuid: optionalText(about, "instanceUuid") ?? "",
    },
    rootFolder: reference(content, "rootFolder"),
    propertyCollector: reference(content, "propertyCollector"),
    sessionManager: reference(content, "sessionManager"),
    searchIndex: reference(content, "searchIndex"),
    viewManager: optionalReference(content, "viewManager"),
    authorizationManager: optionalReference(content, "authorizationManager"),
    licenseManager: optionalReference(content, "licenseManager"),
  };
}

/**
 * Newest API version that both sides know. Every server goes on serving the older ones; the newer bring
 * fields we read (`config.keyId` came with 6.5).
 */
export function versionToSpeak(apiVersion: string): string {
  const [major = 0, minor = 0] = apiVersion.split(".").map(Number);
  const server = major * 100 + minor;
  const known = [
    ["6.7", 607],
    ["6.5", 605],
    ["6.0", 600],
  ] as const;
  return known.find(([, number]) => server >= number)?.[0] ?? "5.5";
}
