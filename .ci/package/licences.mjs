/** The licence texts of everything bundled, in one file. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { underRoot } from "../setup/run.mjs";

const rule = "=".repeat(78);

/** @param {import("./bundled-parts.mjs").Part[]} parts */
export function licenceTexts(parts) {
  const head =
    "migratekit is one file that carries the following software of others. Each is listed with its\n" +
    "version and licence; the texts follow. Node's text covers the libraries that Node carries.\n\n";
  const list = parts.map(({ name, version, licence }) => `  ${name} ${version}: ${licence}\n`);
  const texts = parts
    .filter(({ folder }) => folder !== undefined)
    .map((part) => `${rule}\n${part.name} ${part.version}\n${rule}\n\n${textOf(part)}\n`);
  return `${head}${list.join("")}\n${texts.join("\n")}${runtimeLibrary}`;
}

function textOf({ name, folder, licence }) {
  const names = readdirSync(underRoot(folder)).sort();
  const files = names.filter((file) => /^(licen[cs]e|copying|notice)/i.test(file));
  const texts = files.map((file) => read(folder, file));
  if (texts.length > 0) return texts.join("\n\n");
  const readme = names.find((file) => /^readme/i.test(file));
  const section = readme && licenceSection(read(folder, readme));
  if (section) return section;
  throw new Error(`package: ${name} (${licence}) carries no licence text`);
}

/** Some packages keep the text at the end of their README. */
function licenceSection(readme) {
  const at = readme.search(/^#*\s*licen[cs]e\b/im);
  const section = at < 0 ? "" : readme.slice(at).trim();
  return /permission is hereby granted/i.test(section) ? section : undefined;
}

function read(folder, file) {
  return readFileSync(underRoot(join(folder, file)), "utf8").trimEnd();
}

const runtimeLibrary = `
${rule}
libstdc++ and libgcc (linked into the addon)
${rule}

Copyright (C) Free Software Foundation, Inc. GNU General Public License version 3 or later, with the
GCC Runtime Library Exception 3.1: the combined work may be conveyed under terms of its author's
choice. Text: https://www.gnu.org/licenses/gcc-exception-3.1.html; on Debian:
/usr/share/common-licenses/GPL-3
`;
