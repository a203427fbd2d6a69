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
