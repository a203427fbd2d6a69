/** A managed object as the property collector sees it. */

import type { Moref, VimValue } from "./vim-values.ts";

export interface ManagedObject {
  readonly ref: Moref;
  /** Value of a property by its first name (`config`, not `config.hardware`); undefined when unset. */
  property(name: string): VimValue | undefined;
}

/** An inventory object has a name (escaped as in the inventory), a parent, and children. */
export interface ManagedEntity extends ManagedObject {
  readonly name: string;
  readonly parent: ManagedEntity | undefined;
  children(): ManagedEntity[];
}

/** An inventory object out of its parts. */
export function entityOf(
  ref: Moref,
  name: string,
  parent: ManagedEntity | undefined,
  children: (self: ManagedEntity) => ManagedEntity[],
  properties: Readonly<Record<string, VimValue>> = {},
): ManagedEntity {
  const self: ManagedEntity = {
    ref,
    name,
    parent,
    children: () => children(self),
    property: (property) => {
      if (property === "name") return name;
      if (property === "parent") return parent?.ref;
      if (property === "overallStatus" || property === "configStatus") return "green";
      if (property === "childEntity" && ref.type === "Folder") {
        return self.children().map((child) => child.ref);
      }
      if (property === "childType" && ref.type === "Folder" && !properties.childType) {
        return ["Folder", "Datacenter"];
      }
      return properties[property];
    },
  };
  return self;
}
