import type { DatabaseSync } from "node:sqlite";

/** Marks a database file as ours ("MKIT" in ASCII); file(1) and our own check can see it. */
export const applicationId = 0x4d4b4954;

/**
 * The schema as the list of steps that led to it: step N brings version N to N+1. A released step
 * is never edited, only followed by another; test/state/database/database.schema.test.ts holds version 1.
 * Rows of growing tables are bounded by their owners (journal.ts, runs.ts).
 */
export const migrations: readonly string[] = [
  `
  CREATE TABLE vm (
    id INTEGER PRIMARY KEY,
    endpoint TEXT NOT NULL,
    instance_uuid TEXT NOT NULL,
    vm_path TEXT NOT NULL,
    UNIQUE (endpoint, instance_uuid)
  ) STRICT;

  CREATE TABLE disk (
    vm_id INTEGER NOT NULL REFERENCES vm (id),
    device_key INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    origin TEXT NOT NULL CHECK (origin IN ('migratekit', 'imported')),
    change_id TEXT,
    capacity_bytes INTEGER,
    target_uri TEXT,
    target_size_bytes INTEGER,
    synced_at TEXT,
    samples TEXT NOT NULL,
    unfinished TEXT CHECK (unfinished IN ('full', 'incremental')),
    PRIMARY KEY (vm_id, device_key)
  ) STRICT;

  CREATE TABLE pending_upload (
    vm_id INTEGER NOT NULL REFERENCES vm (id),
    device_key INTEGER NOT NULL,
    change_id TEXT NOT NULL,
    previous_change_id TEXT,
    since TEXT NOT NULL,
    PRIMARY KEY (vm_id, device_key)
  ) STRICT;

  CREATE TABLE journal (
    vm_id INTEGER NOT NULL REFERENCES vm (id),
    device_key INTEGER NOT NULL,
    run_id TEXT NOT NULL,
    mode TEXT NOT NULL CHECK (mode IN ('full', 'incremental')),
    base_change_id TEXT NOT NULL,
    from_change_id TEXT,
    capacity_bytes INTEGER NOT NULL,
    target_uri TEXT NOT NULL,
    target_size_bytes INTEGER NOT NULL,
    started_at TEXT NOT NULL,
    PRIMARY KEY (vm_id, device_key)
  ) STRICT;

  CREATE TABLE journal_segment (
    vm_id INTEGER NOT NULL,
    device_key INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    ranges BLOB NOT NULL,
    PRIMARY KEY (vm_id, device_key, sequence),
    FOREIGN KEY (vm_id, device_key) REFERENCES journal (vm_id, device_key) ON DELETE CASCADE
  ) STRICT;

  CREATE TABLE journal_sample (
    vm_id INTEGER NOT NULL,
    device_key INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    length INTEGER NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (vm_id, device_key, offset),
    FOREIGN KEY (vm_id, device_key) REFERENCES journal (vm_id, device_key) ON DELETE CASCADE
  ) STRICT;

  CREATE TABLE run (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    vm_id INTEGER NOT NULL REFERENCES vm (id),
    command TEXT NOT NULL,
    version TEXT NOT NULL,
    lock_token TEXT NOT NULL,
    pid INTEGER NOT NULL,
    host TEXT NOT NULL,
    started_at TEXT NOT NULL,
    status TEXT NOT NULL,
    duration_ms REAL,
    error_code TEXT,
    message TEXT
  ) STRICT;
  CREATE INDEX run_by_vm ON run (vm_id, sequence);

  CREATE TABLE run_stage (
    run_sequence INTEGER NOT NULL REFERENCES run (sequence) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    stage TEXT NOT NULL,
    started_at TEXT NOT NULL,
    duration_ms REAL NOT NULL,
    PRIMARY KEY (run_sequence, position)
  ) STRICT;

  CREATE TABLE run_disk (
    run_sequence INTEGER NOT NULL REFERENCES run (sequence) ON DELETE CASCADE,
    device_key INTEGER NOT NULL,
    sync_type TEXT NOT NULL CHECK (sync_type IN ('full', 'incremental')),
    resumed INTEGER NOT NULL,
    reason TEXT NOT NULL,
    capacity_bytes INTEGER NOT NULL,
    planned_bytes INTEGER NOT NULL,
    copied_bytes INTEGER NOT NULL,
    zeroed_bytes INTEGER NOT NULL,
    skipped_bytes INTEGER NOT NULL,
    retries INTEGER NOT NULL,
    duration_ms REAL NOT NULL,
    finished INTEGER NOT NULL,
    PRIMARY KEY (run_sequence, device_key)
  ) STRICT;

  CREATE TABLE run_snapshot (
    run_sequence INTEGER NOT NULL REFERENCES run (sequence) ON DELETE CASCADE,
    name TEXT NOT NULL,
    moref TEXT,
    finished INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (run_sequence, name)
  ) STRICT;

  CREATE TABLE pin (
    endpoint TEXT PRIMARY KEY,
    sha256 TEXT NOT NULL,
    remembered_at TEXT NOT NULL
  ) STRICT;
  `,
  // Runs are forgotten in time, their failures are counted on. Device key -1: the VM as a whole.
  `
  CREATE TABLE failure_count (
    vm_id INTEGER NOT NULL REFERENCES vm (id),
    device_key INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    PRIMARY KEY (vm_id, device_key)
  ) STRICT;
  INSERT INTO failure_count
    SELECT vm_id, -1, count(*) FROM run
    WHERE status IN ('failed', 'died') AND command IN ('migrate', 'cutover') GROUP BY vm_id;
  `,
  // An endpoint is known by its UUID, which older rows learn when it is reached again; a target has an
  // owner, of two disks that were synced to one the later; a VM that was cut over is marked.
  `
  CREATE TABLE vm_by_uuid (
    id INTEGER PRIMARY KEY,
    endpoint TEXT NOT NULL,
    endpoint_uuid TEXT,
    instance_uuid TEXT NOT NULL,
    vm_path TEXT NOT NULL,
    UNIQUE (endpoint_uuid, instance_uuid)
  ) STRICT;
  INSERT INTO vm_by_uuid SELECT id, endpoint, NULL, instance_uuid, vm_path FROM vm;
  DROP TABLE vm;
  ALTER TABLE vm_by_uuid RENAME TO vm;

  CREATE TABLE endpoint_address (
    address TEXT PRIMARY KEY,
    endpoint_uuid TEXT NOT NULL
  ) STRICT;

  CREATE TABLE target (
    name TEXT PRIMARY KEY,
    vm_id INTEGER NOT NULL REFERENCES vm (id),
    device_key INTEGER NOT NULL,
    since TEXT NOT NULL,
    run_id TEXT
  ) STRICT;
  INSERT OR IGNORE INTO target (name, vm_id, device_key, since)
    SELECT name, vm_id, device_key, since FROM (
      SELECT target_uri AS name, vm_id, device_key, coalesce(synced_at, '') AS since, sequence
      FROM disk WHERE target_uri IS NOT NULL
      UNION ALL
      SELECT journal.target_uri, vm_id, device_key, started_at, sequence
      FROM journal LEFT JOIN disk USING (vm_id, device_key)
    ) ORDER BY sequence DESC, since DESC;

  CREATE TEMPORARY TABLE lost AS
    SELECT claim.vm_id, claim.device_key FROM (
      SELECT vm_id, device_key, target_uri FROM disk WHERE target_uri IS NOT NULL
      UNION
      SELECT vm_id, device_key, target_uri FROM journal
    ) AS claim
    JOIN vm ON vm.id = claim.vm_id
    JOIN target ON target.name = claim.target_uri
    JOIN vm AS owner ON owner.id = target.vm_id
    WHERE (owner.instance_uuid, target.device_key) <> (vm.instance_uuid, claim.device_key);
  UPDATE disk SET change_id = NULL, samples = '[]', unfinished = 'full'
    WHERE (vm_id, device_key) IN lost;
  DELETE FROM journal_segment WHERE (vm_id, device_key) IN lost;
  DELETE FROM journal_sample WHERE (vm_id, device_key) IN lost;
  DELETE FROM journal WHERE (vm_id, device_key) IN lost;
  DELETE FROM pending_upload WHERE (vm_id, device_key) IN lost;
  DROP TABLE lost;

  CREATE TABLE cut_over (
    vm_id INTEGER PRIMARY KEY REFERENCES vm (id),
    run_id TEXT NOT NULL,
    at TEXT NOT NULL
  ) STRICT;
  `,
  // What a journal calls finished is proved against the source before a resume, not by samples.
  `
  DROP TABLE journal_sample;
  `,
  // Whose writes may still be under way to a target. Of the runs of before, those that were interrupted.
  `
  CREATE TABLE late_write (
    target TEXT PRIMARY KEY,
    vm_id INTEGER NOT NULL REFERENCES vm (id),
    device_key INTEGER NOT NULL,
    base_change_id TEXT,
    overlapped INTEGER NOT NULL,
    last_sign_ms INTEGER NOT NULL
  ) STRICT;
  INSERT OR REPLACE INTO late_write
    SELECT target_uri, vm_id, device_key, base_change_id, 0, unixepoch() * 1000
    FROM journal ORDER BY started_at;
  `,
  // What the machine is made of, for its conversion (machine/machine.ts): JSON. Older states learn it with the next run.
  `
  CREATE TABLE hardware (
    vm_id INTEGER PRIMARY KEY REFERENCES vm (id),
    description TEXT NOT NULL,
    read_at TEXT NOT NULL
  ) STRICT;
  `,
  // How far a conversion's way to a VM's targets is, and where what was there before is kept.
  `
  CREATE TABLE conversion (
    vm_id INTEGER PRIMARY KEY REFERENCES vm (id),
    run_id TEXT NOT NULL,
    phase TEXT NOT NULL CHECK (phase IN ('keeping', 'applying', 'converted', 'rolling-back')),
    since TEXT NOT NULL,
    folder TEXT NOT NULL,
    list_digest TEXT,
    result TEXT NOT NULL
  ) STRICT;
  CREATE TABLE conversion_disk (
    vm_id INTEGER NOT NULL REFERENCES conversion (vm_id) ON DELETE CASCADE,
    device_key INTEGER NOT NULL,
    PRIMARY KEY (vm_id, device_key)
  ) STRICT;
  `,
  // The progress job that a run reported under: `status JOB` finds the VM by it.
  `
  ALTER TABLE run ADD COLUMN progress_job TEXT;
  `,
  // How a run ended, as it was told then: src/ending.ts as JSON.
  `
  ALTER TABLE run ADD COLUMN ending TEXT;
  `,
  // How the newest rehearsal of a VM went.
  `
  CREATE TABLE rehearsal (
    vm_id INTEGER PRIMARY KEY REFERENCES vm (id),
    run_id TEXT NOT NULL,
    at TEXT NOT NULL,
    verdict TEXT NOT NULL,
    result TEXT NOT NULL
  ) STRICT;
  `,
  // Machines in CloudStack that are made of a VM's volumes (machine/deployments.ts), or were to be.
  `
  CREATE TABLE deployment (
    vm_id INTEGER NOT NULL REFERENCES vm (id),
    purpose TEXT NOT NULL CHECK (purpose IN ('cutover', 'rehearsal')),
    run_id TEXT NOT NULL,
    since TEXT NOT NULL,
    goal TEXT NOT NULL CHECK (goal IN ('deploy', 'undo')),
    appliance_id TEXT NOT NULL,
    volumes TEXT NOT NULL,
    instance_name TEXT NOT NULL,
    instance_id TEXT,
    own_root_id TEXT,
    started INTEGER NOT NULL,
    alive_at TEXT,
    down_since TEXT,
    until TEXT,
    PRIMARY KEY (vm_id, purpose)
  ) STRICT;
  `,
];

/** Brings an open database to the newest of `steps`, all of it in the caller's transaction. */
export function migrate(db: DatabaseSync, fromVersion: number, steps: readonly string[]): void {
  for (const step of steps.slice(fromVersion)) db.exec(step);
  const [orphan] = db.prepare("PRAGMA foreign_key_check").all();
  if (orphan) throw new Error(`A row of ${String(orphan.table)} lost what it refers to`);
  db.exec(`PRAGMA application_id = ${applicationId}`);
  db.exec(`PRAGMA user_version = ${steps.length}`);
}
