import type { Client } from "pg";
import { messageOf } from "../../errors.ts";
import { endClient, type FleetDatabase } from "./database.ts";

const channel = "migratekit_fleet";
const firstPauseMs = 500;
const pauseMsMax = 10_000;
/** A connection that hears nothing for long is asked whether it is still there. */
const askEveryMs = 30_000;

/**
 * Hears what others do in the database. A bell is a hint alone: who listens asks from time to time without it.
 * After each connection it rings once, for what was missed.
 */
export class Bell implements AsyncDisposable {
  readonly #database: FleetDatabase;
  readonly #onBell: () => void;
  readonly #onFault: (text: string) => void;
  #client: Client | undefined;
  #timer: NodeJS.Timeout | undefined;
  #pauseMs = firstPauseMs;
  #closed = false;

  constructor(database: FleetDatabase, onBell: () => void, onFault: (text: string) => void) {
    this.#database = database;
    this.#onBell = onBell;
    this.#onFault = onFault;
  }

  /** Never rejects: what cannot be reached is tried again. */
  async start(): Promise<void> {
    if (this.#closed) return;
    let client: Client | undefined;
    try {
      client = await this.#database.connect();
      client.on("notification", () => this.#onBell());
      client.on("end", () => this.#lost(client!));
      await client.query(`LISTEN ${channel}`);
      if (this.#closed) return await endClient(client);
      this.#client = client;
      this.#pauseMs = firstPauseMs;
      this.#plan(askEveryMs, () => this.#ask(client!));
      this.#onBell();
    } catch (error) {
      this.#onFault(messageOf(error));
      if (client !== undefined) await endClient(client);
      this.#again();
    }
  }

  async #ask(client: Client): Promise<void> {
    try {
      await client.query("SELECT 1");
      if (this.#client === client) this.#plan(askEveryMs, () => this.#ask(client));
    } catch {
      this.#lost(client);
    }
  }

  #lost(client: Client): void {
    if (this.#client !== client) return; // seen already
    this.#client = undefined;
    void endClient(client);
    this.#again();
  }

  #again(): void {
    this.#plan(this.#pauseMs, () => this.start());
    this.#pauseMs = Math.min(this.#pauseMs * 2, pauseMsMax);
  }

  #plan(afterMs: number, work: () => Promise<void>): void {
    clearTimeout(this.#timer);
    if (this.#closed) return;
    this.#timer = setTimeout(() => void work(), afterMs);
    this.#timer.unref();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    const client = this.#client;
    this.#client = undefined;
    if (client !== undefined) await endClient(client);
  }
}
