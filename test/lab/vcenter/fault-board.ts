/** Faults on demand: what shall go wrong, where, and how many times. */

/** Every fault the lab can play, and what its `value` means. */
export const faultDescriptions = {
  // Transport, for any SOAP call (`method` narrows it)
  delayMs: "every call waits value ms before it is carried out",
  http503Html: "answers 503 with a page of HTML",
  truncatedAnswer: "the XML of the answer ends in the middle, the HTTP message is whole",
  cutConnection: "the answer's connection breaks in the middle",
  emptyAnswer: "answers 200 with an empty body",
  refuseConnections: "refuses connections for value ms (default 1000), open ones are cut",
  callFault: "a call of `method` is answered with the fault in `fault`",
  // Listings
  shortPages: "a page of RetrievePropertiesEx holds fewer objects than were asked for",
  vmVanishes: "the machine `vm` is removed while the next page of a listing is made",
  folderHidden:
    "views leave out the folder whose name is in value, as for an account that does not see it",
  propertyMissing:
    "properties of `vm` whose path begins with value are reported missing, with the fault in `fault` (NoPermission)",
  // Sessions
  expireSessions: "forgets all sessions at the next call",
  notAuthenticatedAfter: "forgets all sessions after value more calls",
  permissionDenied: "NoPermission for the privilege in value, or for any operation that needs one",
  freeLicense: "the licence is the free hypervisor's, which has no storage APIs",
  // Change tracking
  cbtNotSupported: "capability.changeTrackingSupported is false, enabling it faults",
  cbtStaysOff: "the disk gets no change ID although tracking was switched on",
  cbtReset: "new tracking UUID before the next snapshot is frozen",
  fileFault: "QueryChangedDiskAreas faults with FileFault",
  starRefused: "QueryChangedDiskAreas for * faults with FileFault",
  starLeavesOut:
    "QueryChangedDiskAreas for * leaves out the area that holds byte value, or the first one",
  starWholeDisk: "QueryChangedDiskAreas for * answers one whole-disk extent",
  changesLeftOut:
    "leaves out every other changed area, from the first on, of disks whose tracking began while the machine had snapshots",
  laterIdAnswered:
    "QueryChangedDiskAreas answers a change ID later than the snapshot's own, instead of FileFault",
  emptyPage: "a page over the unchanged stretch before the next area, listing none",
  lengthZeroPage: "a page with length 0 and no areas",
  pageGap: "a page that begins later than it was asked to",
  // Snapshots and tasks
  quiesceFault: "a quiesced snapshot fails with the fault type in value (ApplicationQuiesceFault)",
  snapshotFails: "the snapshot task fails with GenericVmConfigFault",
  removeFails: "the removal task fails with GenericVmConfigFault, the snapshot stays",
  taskFault: "a task that `method` starts ends with the fault in `fault`, without an effect",
  slowSnapshot: "the snapshot task takes value ms, frozen in the middle",
  slowTasks: "every task takes value ms",
  vanishedTask: "the task object is gone once the work is done",
  consolidationNeeded: "removing a snapshot leaves runtime.consolidationNeeded set",
  // Guest
  guestIgnoresShutdown: "ShutdownGuest is accepted and nothing happens",
  slowGuestShutdown: "the guest is off value ms after ShutdownGuest",
} as const;

export type FaultName = keyof typeof faultDescriptions;

export interface FaultRequest {
  name: FaultName;
  /** How often it strikes; absent: until cleared. */
  count?: number;
  /** How long it strikes, from the first time on; absent: until cleared. */
  for_ms?: number;
  /** How many chances it lets pass first. */
  skip?: number;
  /** Only for the machine of this name. */
  vm?: string;
  /** Only for the disk of this key. */
  key?: number;
  /** Only for this SOAP method. */
  method?: string;
  value?: number | string;
  /** Of `callFault` and `taskFault`: a type of the vSphere API and its text. */
  fault?: { readonly type: string; readonly text: string };
}

export interface FaultPlace {
  vm?: string | undefined;
  key?: number | undefined;
  method?: string | undefined;
}

export class FaultBoard {
  #set: FaultRequest[] = [];
  /** When faults with `for_ms` struck first, by the time of the process in ms. */
  readonly #firstStruckMs = new Map<FaultRequest, number>();
  readonly #onAdd: ((fault: FaultRequest) => void)[] = [];

  add(fault: FaultRequest): void {
    if (!(fault.name in faultDescriptions)) throw new RangeError(`No such fault: ${fault.name}`);
    const added = { ...fault };
    this.#set.push(added);
    for (const listener of this.#onAdd) listener(added);
  }

  onAdd(listener: (fault: FaultRequest) => void): void {
    this.#onAdd.push(listener);
  }

  clear(name?: FaultName): void {
    this.#set = name === undefined ? [] : this.#set.filter((fault) => fault.name !== name);
  }

  list(): readonly FaultRequest[] {
    return this.#set;
  }

  /** The fault, if it strikes here and now; counts it. */
  take(name: FaultName, place: FaultPlace = {}): FaultRequest | undefined {
    const fault = this.peek(name, place, true);
    if (fault === undefined) return undefined;
    if (fault.for_ms !== undefined && !this.#firstStruckMs.has(fault))
      this.#firstStruckMs.set(fault, performance.now());
    if (fault.count !== undefined) {
      fault.count -= 1;
      if (fault.count <= 0) this.#set = this.#set.filter((other) => other !== fault);
    }
    return fault;
  }

  /** The fault, without counting it. */
  peek(name: FaultName, place: FaultPlace = {}, skipping = false): FaultRequest | undefined {
    for (const fault of this.#set) {
      if (fault.name !== name || !isHere(fault, place) || this.#isOver(fault)) continue;
      if (fault.skip !== undefined && fault.skip > 0) {
        if (skipping) fault.skip -= 1;
        continue;
      }
      return fault;
    }
    return undefined;
  }

  #isOver(fault: FaultRequest): boolean {
    const firstMs = this.#firstStruckMs.get(fault);
    return firstMs !== undefined && performance.now() > firstMs + (fault.for_ms ?? 0);
  }
}

function isHere(fault: FaultRequest, place: FaultPlace): boolean {
  return (
    (fault.vm === undefined || fault.vm === place.vm) &&
    (fault.key === undefined || fault.key === place.key) &&
    (fault.method === undefined || fault.method === place.method)
  );
}

export function faultNumber(fault: FaultRequest | undefined, fallback: number): number {
  return fault?.value === undefined ? fallback : Number(fault.value);
}
