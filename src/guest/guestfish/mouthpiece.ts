import type { Readable } from "node:stream";
import { MigratekitError } from "../../errors.ts";

/** No answer is larger: files travel by files. */
const answerBytesMax = 64 * 1024 * 1024;

/** One pipe of guestfish, read up to a mark at a time. */
export class Mouthpiece {
  #pieces: Buffer = Buffer.alloc(0);
  #wake: (() => void) | undefined;
  #closed = false;

  constructor(stream: Readable) {
    stream.on("data", (chunk: Buffer) => {
      this.#pieces = Buffer.concat([this.#pieces, chunk]);
      this.#wake?.();
    });
    stream.on("close", () => {
      this.#closed = true;
      this.#wake?.();
    });
  }

  /** What came before `mark`. @throws MigratekitError when the pipe ends first */
  async until(mark: string): Promise<Buffer> {
    for (;;) {
      const at = this.#pieces.indexOf(mark);
      if (at >= 0) {
        const answer = this.#pieces.subarray(0, at);
        this.#pieces = this.#pieces.subarray(at + Buffer.byteLength(mark));
        return answer;
      }
      if (this.#closed || this.#pieces.length > answerBytesMax) {
        const said = this.#pieces.subarray(-300).toString("utf8").trim();
        throw new MigratekitError("conversion-failed", `guestfish ended in its work: ${said}`);
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
