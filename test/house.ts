/** How src/ is built: what imports what, and what each folder holds. Every check lists what breaks it. */

import { globSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";

/** For each .ts file below a folder what it imports there, types included; paths from the root on. */
export function importsBelow(root: string, folder: string): Map<string, string[]> {
  const files = globSync("**/*.ts", { cwd: join(root, folder) }).map((name) => join(folder, name));
  return new Map(files.sort().map((file) => [file, importedBy(join(root, file), dirname(file))]));
}

function importedBy(path: string, folder: string): string[] {
  const statements = readFileSync(path, "utf8").matchAll(
    /^(?:import|export)\b(?:[^;"]*\bfrom)?\s*"(\.[^"]+)"|\bimport\("(\.[^"]+)"\)/gm,
  );
  return [...statements].map(([, named, awaited]) => join(folder, named ?? awaited!));
}

/** Each circle once, as `a -> b -> a`. */
export function circlesIn(imports: Map<string, string[]>): string[] {
  const circles: string[] = [];
  const done = new Set<string>();
  const follow = (file: string, way: string[]) => {
    if (way.includes(file)) circles.push([...way.slice(way.indexOf(file)), file].join(" -> "));
    if (way.includes(file) || done.has(file)) return;
    for (const imported of imports.get(file) ?? []) follow(imported, [...way, file]);
    done.add(file);
  };
  for (const file of imports.keys()) follow(file, []);
  return circles;
}

/** Folders with more files of their own than that. */
export function crowdedFolders(files: Iterable<string>, most: number, except: string[]): string[] {
  return [...Map.groupBy(files, dirname)]
    .filter(([folder, inside]) => inside.length > most && !except.includes(folder))
    .map(([folder, inside]) => `${folder} has ${inside.length} files`);
}

/** Folders with files but without one that is named like them. */
export function foldersWithoutDoor(files: Iterable<string>, except: string[]): string[] {
  return [...Map.groupBy(files, dirname)]
    .filter(([folder, inside]) => !inside.includes(join(folder, `${basename(folder)}.ts`)))
    .map(([folder]) => folder)
    .filter((folder) => !except.includes(folder));
}

/**
 * What is imported neither from the own room nor from a lower floor. A room is a file, a folder with
 * all that is in it, or, where it ends with `/*.ts`, the files directly in a folder; a file belongs
 * to the highest that it fits.
 */
export function wrongImports(imports: Map<string, string[]>, floors: string[][]): string[] {
  const placeOf = (file: string) => {
    const inRoom = (room: string) =>
      room.endsWith("/*.ts")
        ? `${dirname(file)}/*.ts` === room
        : file === room || file.startsWith(`${room}/`);
    const floor = floors.findLastIndex((rooms) => rooms.some(inRoom));
    return { floor, room: floors[floor]?.find(inRoom) };
  };
  return [...imports].flatMap(([file, imported]) => {
    const from = placeOf(file);
    if (from.room === undefined) return [`${file} stands in no room`];
    return imported
      .map((path) => ({ path, ...placeOf(path) }))
      .filter(({ floor, room }) => room !== from.room && floor >= from.floor)
      .map(({ path }) => `${file} imports ${path}`);
  });
}

/** Paths in a page of Markdown: where its links lead, and what its code names below a folder of the project. */
export function pathsNamed(markdown: string): string[] {
  const links = [...markdown.matchAll(/\]\(([^)#\s]+)[^)]*\)/g)].map(([, target]) => target!);
  const code = [...markdown.matchAll(/```(?!mermaid)[\s\S]*?```|`[^`\n]+`/g)].flatMap(
    ([text]) => text.match(/(?<![\w/.-])(?:src|native|test|docs|\.ci)(?:\/[\w.@-]+)+\/?/g) ?? [],
  );
  return [...links.filter((target) => !target.includes("://")), ...code];
}
