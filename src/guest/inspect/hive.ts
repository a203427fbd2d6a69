/** A hive of the Windows registry, read where it lies: libguestfs has one open at a time. */
import type { Guestfish } from "../guestfish/guestfish.ts";

export class Hive {
  readonly #guestfish: Guestfish;
  readonly #root: string;

  private constructor(guestfish: Guestfish, root: string) {
    this.#guestfish = guestfish;
    this.#root = root;
  }

  /** Undefined where there is none, or none that can be read. Closes the one that was open. */
  static async open(guestfish: Guestfish, path: string): Promise<Hive | undefined> {
    const real = (await guestfish.attempt("case-sensitive-path", path))?.trim();
    if (real === undefined) return undefined;
    if ((await guestfish.attempt("hivex-open", real)) === undefined) return undefined;
    const root = (await guestfish.attempt("hivex-root"))?.trim();
    return root === undefined ? undefined : new Hive(guestfish, root);
  }

  /** The key below the root by its names; undefined: there is none. */
  async key(...names: readonly string[]): Promise<string | undefined> {
    let node = this.#root;
    for (const name of names) {
      const child = (await this.#guestfish.attempt("hivex-node-get-child", node, name))?.trim();
      if (!child || child === "0") return undefined;
      node = child;
    }
    return node;
  }

  async keysIn(node: string): Promise<string[]> {
    const text = (await this.#guestfish.attempt("hivex-node-children", node)) ?? "";
    return [...text.matchAll(/hivex_node_h: (\d+)/g)].map(([, handle = ""]) => handle);
  }

  async bytes(node: string, name: string): Promise<Buffer | undefined> {
    const value = (await this.#guestfish.attempt("hivex-node-get-value", node, name))?.trim();
    if (!value || value === "0") return undefined;
    return this.#guestfish.bytes("hivex-value-value", value);
  }

  async number(node: string, name: string): Promise<number | undefined> {
    const bytes = await this.bytes(node, name);
    return bytes !== undefined && bytes.length >= 4 ? bytes.readUInt32LE(0) : undefined;
  }

  /** Of one text or several, as REG_SZ and REG_MULTI_SZ have them. */
  async texts(node: string, name: string): Promise<string[]> {
    const bytes = await this.bytes(node, name);
    if (bytes === undefined) return [];
    const text = bytes.subarray(0, bytes.length & ~1).toString("utf16le");
    return text.split("\0").filter((each) => each !== "");
  }
}
