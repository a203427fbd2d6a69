/** Entries of the Boot Loader Specification, as Fedora and Enterprise Linux 8 and newer have them. */

export interface LoaderEntry {
  /** The file's name without .conf. */
  readonly id: string;
  readonly title: string;
  readonly version: string;
  readonly kernel: string;
  readonly initrds: readonly string[];
  readonly options: string;
}

export function readLoaderEntry(id: string, text: string): LoaderEntry {
  const values = (key: string) =>
    [...text.matchAll(new RegExp(`^${key}\\s+(.+)$`, "gm"))].map(([, value = ""]) => value.trim());
  const [kernel = ""] = values("linux");
  return {
    id,
    kernel,
    title: values("title")[0] ?? id,
    version: values("version")[0] ?? id,
    // "$tuned_initrd" stands for a file that is not there in most cases.
    initrds: values("initrd")
      .flatMap((value) => value.split(/\s+/))
      .filter((path) => !path.startsWith("$")),
    options: values("options").join(" "),
  };
}

/** The saved one, else the newest that is not for rescue, as GRUB's blscfg sorts them. */
export function defaultLoaderEntry(
  entries: readonly LoaderEntry[],
  environment: ReadonlyMap<string, string>,
): LoaderEntry | undefined {
  const sorted = [...entries].sort((a, b) => compareVersions(b.version, a.version));
  const saved = environment.get("saved_entry") ?? "0";
  const chosen = /^\d+$/.test(saved)
    ? sorted[Number(saved)]
    : sorted.find(({ id, title }) => id === saved || title === saved);
  return chosen ?? sorted.find(({ id }) => !id.includes("rescue")) ?? sorted[0];
}

/** Of the options, variables of grubenv put in: $kernelopts. */
export function optionsOf(entry: LoaderEntry, environment: ReadonlyMap<string, string>): string {
  return entry.options.replace(/\$\{?(\w+)\}?/g, (_, name: string) => environment.get(name) ?? "");
}

/** Numbers as numbers, the rest as text; a rescue entry is older than all. */
function compareVersions(a: string, b: string): number {
  const rescue = Number(!a.includes("rescue")) - Number(!b.includes("rescue"));
  if (rescue !== 0) return rescue;
  return a.localeCompare(b, "en", { numeric: true });
}
