/** A folder tree that is the same whoever makes it: fixed modes, one date for everything. */
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, relative } from "node:path";
import { gzipSync } from "node:zlib";

/** Relative paths of all files under a folder, sorted. */
function filesUnder(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .sort();
}

export class Tree {
  /** @param {string} root a folder that does not exist yet */
  constructor(root, epoch) {
    this.root = root;
    this.epoch = epoch;
    mkdirSync(root, { mode: 0o755 });
    chmodSync(root, 0o755);
  }

  /** @param {string} path relative; folders on the way are made with 0755 */
  write(path, content, mode = 0o644) {
    const file = this.#place(path);
    writeFileSync(file, content);
    chmodSync(file, mode);
  }

  copy(path, source, mode = 0o644) {
    const file = this.#place(path);
    copyFileSync(source, file);
    chmodSync(file, mode);
  }

  /** Every file under `source`, folders within it included. */
  copyAll(path, source) {
    for (const name of filesUnder(source)) this.copy(join(path, name), join(source, name));
  }

  /** As gzip -9n writes it: no name, no date. */
  writeGzipped(path, content) {
    this.write(`${path}.gz`, gzipSync(content, { level: 9 }));
  }

  folder(path, mode = 0o755) {
    this.#folders(path);
    chmodSync(join(this.root, path), mode);
  }

  /** Relative paths of all files, sorted. */
  files() {
    return filesUnder(this.root);
  }

  /** The date of everything in the tree; last, as writing changes it. */
  setDates() {
    for (const path of readdirSync(this.root, { recursive: true })) {
      utimesSync(join(this.root, path), this.epoch, this.epoch);
    }
    utimesSync(this.root, this.epoch, this.epoch);
  }

  #place(path) {
    this.#folders(dirname(path));
    return join(this.root, path);
  }

  /** One by one, with a mode that does not depend on the umask. */
  #folders(path) {
    let folder = this.root;
    for (const name of path.split("/").filter((part) => part !== "" && part !== ".")) {
      folder = join(folder, name);
      try {
        mkdirSync(folder);
        chmodSync(folder, 0o755);
      } catch (error) {
        if (error.code !== "EEXIST") throw error;
      }
    }
  }
}
