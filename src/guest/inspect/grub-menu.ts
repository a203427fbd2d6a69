/** What a GRUB 2 menu starts when nobody is at the keyboard: its default entry, as grub-mkconfig writes them. */

export interface MenuEntry {
  readonly title: string;
  readonly id?: string;
  /** As GRUB sees it, on the file system that it has set as root. */
  readonly kernel?: string;
  readonly initrds: readonly string[];
  /** Everything behind the kernel. */
  readonly options: string;
  readonly entries: readonly MenuEntry[];
}

interface OpenEntry {
  title: string;
  id?: string;
  kernel?: string;
  initrds: string[];
  options: string;
  entries: OpenEntry[];
  depth: number;
}

/** The menu's tree. Conditions are not judged: what stands in one counts. */
export function readMenu(text: string): MenuEntry[] {
  const top: OpenEntry = { title: "", initrds: [], options: "", entries: [], depth: 0 };
  const open: OpenEntry[] = [top];
  let depth = 0;
  for (const line of text.split("\n").map((each) => each.trim())) {
    const current = open.at(-1) ?? top;
    if (/^(menuentry|submenu)\s/.test(line) && line.endsWith("{")) {
      depth++;
      const entry = { ...headOf(line), initrds: [], options: "", entries: [], depth };
      current.entries.push(entry);
      open.push(entry);
      continue;
    }
    if (line.endsWith("{") && !line.startsWith("#")) depth++;
    if (line === "}") {
      if (current.depth === depth && open.length > 1) open.pop();
      depth = Math.max(0, depth - 1);
    }
    take(line, current);
  }
  return top.entries;
}

function headOf(line: string): { title: string; id?: string } {
  const title = /^\w+\s+(?:'([^']*)'|"([^"]*)"|(\S+))/.exec(line);
  const id = /(?:--id|\$\{?menuentry_id_option\}?)\s+(?:'([^']*)'|"([^"]*)"|(\S+))/.exec(line);
  const first = (match: RegExpExecArray | null) => match?.[1] ?? match?.[2] ?? match?.[3];
  const found = first(id);
  return { title: first(title) ?? "", ...(found === undefined ? {} : { id: found }) };
}

function take(line: string, entry: OpenEntry): void {
  const kernel = /^linux(?:16|efi)?\s+(\S+)\s*(.*)$/.exec(line);
  if (kernel) {
    entry.kernel = withoutDevice(kernel[1] ?? "");
    entry.options = kernel[2] ?? "";
  }
  const initrd = /^initrd(?:16|efi)?\s+(.+)$/.exec(line);
  if (initrd) entry.initrds.push(...(initrd[1] ?? "").split(/\s+/).map(withoutDevice));
}

/** "(hd0,gpt2)/vmlinuz" and "$root/vmlinuz" are on the root all the same. */
function withoutDevice(path: string): string {
  return path.replace(/^\([^)]*\)/, "").replace(/^\$\{?root\}?/, "");
}

/** Words of grubenv: saved_entry, next_entry, kernelopts. */
export function readEnvironment(text: string): Map<string, string> {
  const pairs = [...text.matchAll(/^([A-Za-z_]\w*)=(.*)$/gm)];
  return new Map(pairs.map(([, name = "", value = ""]) => [name, value]));
}

/**
 * The entry that boots: `set default=` of the menu's head, "saved" by grubenv; by index, by title or id,
 * "a>b" for one in a submenu. Undefined where the menu has no entry at all.
 */
export function defaultEntry(
  text: string,
  environment: ReadonlyMap<string, string>,
): MenuEntry | undefined {
  const entries = readMenu(text);
  const wanted = environment.get("next_entry") || defaultName(text, environment);
  return find(entries, wanted) ?? firstBootable(entries);
}

function defaultName(text: string, environment: ReadonlyMap<string, string>): string {
  const settings = [...text.matchAll(/^\s*set\s+default=(?:"([^"]*)"|'([^']*)'|(\S*))/gm)]
    .map((match) => match[1] ?? match[2] ?? match[3] ?? "")
    .filter((value) => !/^\$\{?next_entry\}?$/.test(value));
  const name = settings.at(-1) ?? "0";
  return /^\$\{?saved_entry\}?$/.test(name) ? environment.get("saved_entry") || "0" : name;
}

function find(entries: readonly MenuEntry[], name: string): MenuEntry | undefined {
  const [first = "", ...rest] = name.split(">");
  const found = /^\d+$/.test(first)
    ? entries[Number(first)]
    : entries.find(({ id, title }) => id === first || title === first);
  if (rest.length > 0 && found) return find(found.entries, rest.join(">"));
  return found?.kernel === undefined ? firstBootable(found?.entries ?? []) : found;
}

function firstBootable(entries: readonly MenuEntry[]): MenuEntry | undefined {
  for (const entry of entries) {
    const found = entry.kernel === undefined ? firstBootable(entry.entries) : entry;
    if (found) return found;
  }
  return undefined;
}
