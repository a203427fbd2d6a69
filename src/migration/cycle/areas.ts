/** What vSphere lists of a disk's areas: changed since a change ID, or ever allocated. */
import type { Logger } from "pino";
import { MigratekitError } from "../../errors.ts";
import { ExtentCollector } from "../../range-set.ts";
import { totalBytes } from "../../ranges.ts";
import type { VsphereClient } from "../../vmware/vmware.ts";
import type { FrozenDisk } from "../disk.ts";

/** The snapshot that is asked about. */
export interface AreaQuery {
  readonly client: VsphereClient;
  readonly vmMoref: string;
  readonly snapshotMoref: string;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/**
 * What changed on a disk since a change ID (or was ever allocated, for `*`), as one list of pairs
 * [offset, length] in bytes.
 * @throws MigratekitError `changed-areas-unavailable`, `vsphere-…`; the signal's reason
 */
export async function changedAreas(
  query: AreaQuery,
  disk: FrozenDisk,
  changeId: string,
): Promise<Float64Array> {
  const collector = new ExtentCollector();
  for await (const page of areaPages(query, disk, changeId)) collector.add(page);
  return collector.finish();
}

/** The same in pages, each of them as it comes. */
export function areaPages(
  { client, vmMoref, snapshotMoref, signal }: AreaQuery,
  { frozen }: FrozenDisk,
  changeId: string,
): AsyncIterable<Float64Array> {
  return client.changedAreas({
    vmMoref,
    snapshotMoref,
    deviceKey: frozen.key,
    changeId,
    capacityBytes: frozen.capacityBytes,
    signal,
  });
}

/**
 * Areas ever allocated, where vSphere answers that (it may not, off VMFS or on old hosts).
 * @throws MigratekitError `vsphere-…`; the signal's reason
 */
export async function allocatedAreas(
  query: AreaQuery,
  disk: FrozenDisk,
): Promise<Float64Array | undefined> {
  if (disk.frozen.changeId === undefined) return undefined;
  try {
    const areas = await changedAreas(query, disk, "*");
    query.logger.debug({ disk: disk.diskId, bytes: totalBytes(areas) }, "allocated areas");
    return areas;
  } catch (error) {
    if (!isUnavailable(error)) throw error;
    query.logger.info(
      { disk: disk.diskId },
      `vSphere does not tell allocated areas (${error.message}); the source's extents will`,
    );
    return undefined;
  }
}

/** vSphere has lost track of the changes: the one vSphere error that a full copy gets over. */
export function isUnavailable(error: unknown): error is MigratekitError {
  return error instanceof MigratekitError && error.code === "changed-areas-unavailable";
}

/** Why all is copied, or nothing can be verified, after an error that `isUnavailable`. */
export function changesUnavailable(error: MigratekitError): string {
  return `vSphere could not tell what changed: ${error.message}`;
}

/** So many pages are awaited before copying begins; what comes later is copied as it comes. */
const pagesFirst = 16;

export interface AreaPages {
  /** The first pages, as one list. */
  readonly first: Float64Array;
  /** What vSphere has not told yet; absent when `first` is all. To be iterated once. */
  readonly rest?: AsyncIterable<Float64Array>;
}

/**
 * Reads the first pages of a long answer and leaves the rest for later, so that a disk with hundreds
 * of thousands of changes is being copied while vSphere still lists them.
 */
export async function readFirstPages(pages: AsyncIterable<Float64Array>): Promise<AreaPages> {
  const iterator = pages[Symbol.asyncIterator]();
  const collector = new ExtentCollector();
  for (let count = 0; count < pagesFirst; count++) {
    const page = await iterator.next();
    if (page.done) return { first: collector.finish() };
    collector.add(page.value);
  }
  return { first: collector.finish(), rest: { [Symbol.asyncIterator]: () => iterator } };
}

/** `first` and then the rest; `onPage` sees each page of the rest before the engine does. */
export async function* joinPages(
  first: Float64Array,
  rest: AsyncIterable<Float64Array>,
  onPage: (page: Float64Array) => void,
): AsyncGenerator<Float64Array> {
  yield first;
  for await (const page of rest) {
    onPage(page);
    yield page;
  }
}
