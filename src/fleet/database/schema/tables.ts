/**
 * Version 1. `vm.next_at` says whether a VM stands in a line, and from when on it may be taken; it follows
 * from the other columns. `place` is whatever has a limit: a host (connections), a datastore or a target
 * server (runs). Its check is the last guard of that limit; `ceiling` is above `capacity` only while runs go
 * on that began before the limit was lowered. What a lease counts at which place stands in the lease.
 */
export const tables = `
  CREATE TABLE fleet (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version integer NOT NULL,
    ttl_ms integer NOT NULL DEFAULT 120000 CHECK (ttl_ms > 0),
    grace_ms integer NOT NULL DEFAULT 60000 CHECK (grace_ms >= 0),
    target_drop_ms integer CHECK (target_drop_ms >= 0),
    host_connections integer NOT NULL DEFAULT 24 CHECK (host_connections > 0),
    datastore_runs integer NOT NULL DEFAULT 0 CHECK (datastore_runs >= 0),
    target_runs integer NOT NULL DEFAULT 0 CHECK (target_runs >= 0),
    -- After a restored backup: what nobody knows of any more has ended by then.
    claims_from timestamptz NOT NULL DEFAULT '-infinity'
  );

  -- They are given what is added by later versions, too.
  CREATE TABLE worker_role (name text PRIMARY KEY);

  -- Since when workers have been heard of without a gap: before that, nobody could renew a lease.
  CREATE TABLE pulse (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    beat_at timestamptz NOT NULL,
    steady_since timestamptz NOT NULL
  );

  CREATE TABLE wave (
    name text PRIMARY KEY,
    paused boolean NOT NULL DEFAULT false,
    -- Of those of the plan, in its order.
    position integer NOT NULL DEFAULT 0
  );

  CREATE TABLE worker (
    name text PRIMARY KEY,
    labels text[] NOT NULL,
    version text NOT NULL,
    parallel integer NOT NULL,
    seen_at timestamptz NOT NULL
  );

  CREATE TABLE place (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('host', 'datastore', 'target')),
    name text NOT NULL,
    capacity integer NOT NULL CHECK (capacity >= 0),
    ceiling integer NOT NULL,
    used integer NOT NULL DEFAULT 0,
    UNIQUE (kind, name),
    CHECK (ceiling >= capacity),
    CHECK (used >= 0 AND (capacity = 0 OR used <= ceiling))
  );

  -- VMs of one host that any worker with these labels may take, in their order; host NULL: not known yet.
  CREATE TABLE line (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    host_id bigint REFERENCES place (id),
    labels text[] NOT NULL,
    -- When a first copy was taken out of it last.
    first_copy_at timestamptz NOT NULL DEFAULT '-infinity'
  );
  CREATE UNIQUE INDEX line_of ON line (coalesce(host_id, 0), labels);

  CREATE TABLE vm (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    endpoint text NOT NULL,
    vm_path text NOT NULL,
    wave text NOT NULL REFERENCES wave (name),
    priority integer NOT NULL,
    labels text[] NOT NULL,
    after_names text[] NOT NULL,
    entry jsonb NOT NULL,
    entry_digest text NOT NULL,
    entry_version integer NOT NULL DEFAULT 1,
    released_at timestamptz,
    -- As the last run was counted.
    line_id bigint NOT NULL REFERENCES line (id),
    units integer NOT NULL DEFAULT 0 CHECK (units >= 0),
    place_ids bigint[] NOT NULL DEFAULT '{}',
    paused boolean NOT NULL DEFAULT false,
    wave_paused boolean NOT NULL DEFAULT false,
    wave_position integer NOT NULL DEFAULT 0,
    failed boolean NOT NULL DEFAULT false,
    leased boolean NOT NULL DEFAULT false,
    -- From when, and until when its window is open then; until NULL: always.
    sync_at timestamptz,
    sync_until timestamptz,
    cutover_asked_at timestamptz,
    cutover_ready boolean NOT NULL DEFAULT false,
    cutover_at timestamptz,
    cutover_until timestamptz,
    -- Since when it waits, where windows closed meanwhile.
    waits_since timestamptz NOT NULL,
    failures integer NOT NULL DEFAULT 0,
    cutover_failures integer NOT NULL DEFAULT 0,
    last_error jsonb,
    started_at timestamptz,
    synced_at timestamptz,
    delta_bytes bigint,
    cut_over_at timestamptz,
    -- A worker died with it, or the database was restored: what was written last may not be what is known.
    unclean boolean NOT NULL DEFAULT false,
    -- The lease of which an operator said that nothing of it can arrive any more.
    word_for_token bigint,
    next_at timestamptz GENERATED ALWAYS AS (
      CASE
        WHEN leased OR paused OR wave_paused OR failed THEN NULL
        WHEN released_at IS NOT NULL OR cut_over_at IS NOT NULL THEN NULL
        WHEN cutover_ready THEN least(sync_at, cutover_at)
        ELSE sync_at
      END
    ) STORED,
    -- What would begin is a first copy; among these those of earlier waves come first.
    fresh boolean NOT NULL GENERATED ALWAYS AS (synced_at IS NULL AND NOT cutover_ready) STORED,
    rank integer NOT NULL GENERATED ALWAYS AS (
      CASE WHEN synced_at IS NULL AND NOT cutover_ready THEN wave_position ELSE 0 END
    ) STORED,
    -- Its state as far as that does not depend on the time: see status.ts.
    standing text NOT NULL GENERATED ALWAYS AS (
      CASE
        WHEN cut_over_at IS NOT NULL THEN 'cut-over'
        WHEN leased THEN 'running'
        WHEN failed THEN 'failed'
        WHEN paused OR wave_paused THEN 'paused'
        WHEN cutover_asked_at IS NOT NULL AND NOT cutover_ready THEN 'blocked'
        ELSE 'waiting'
      END
    ) STORED,
    -- Whoever looks at the fleet is told of it by name, however many VMs are well.
    notable boolean NOT NULL GENERATED ALWAYS AS (
      released_at IS NULL AND cut_over_at IS NULL
        AND (leased OR failed OR paused OR failures + cutover_failures > 0)
    ) STORED,
    UNIQUE (endpoint, vm_path)
  );
  CREATE UNIQUE INDEX vm_name ON vm (name) WHERE released_at IS NULL;
  CREATE INDEX vm_in_line ON vm (line_id, fresh, priority DESC, rank, next_at, waits_since, id) WHERE next_at IS NOT NULL;
  CREATE INDEX vm_sync_until ON vm (sync_until) WHERE sync_until IS NOT NULL AND next_at IS NOT NULL;
  CREATE INDEX vm_cutover_until ON vm (cutover_until) WHERE cutover_until IS NOT NULL AND next_at IS NOT NULL;
  CREATE INDEX vm_wave ON vm (wave, next_at);
  CREATE INDEX vm_notable ON vm (id) WHERE notable;
  CREATE INDEX vm_oldest_sync ON vm (wave, synced_at)
    WHERE synced_at IS NOT NULL AND released_at IS NULL AND cut_over_at IS NULL;
  CREATE INDEX vm_after ON vm USING gin (after_names) WHERE cutover_asked_at IS NOT NULL;

  -- What the VMs of the plan come to, as differences that add up to it: see tally.ts.
  CREATE TABLE tally (
    wave text NOT NULL,
    standing text NOT NULL,
    -- In which ten seconds since 1970 their next_at lies; NULL: they have none.
    due_in bigint,
    vms bigint NOT NULL,
    in_sync bigint NOT NULL,
    -- Of those that are not cut over.
    delta_bytes numeric NOT NULL
  );

  CREATE SEQUENCE token AS bigint;

  CREATE TABLE lease (
    vm_id bigint PRIMARY KEY REFERENCES vm (id),
    token bigint NOT NULL UNIQUE,
    nonce uuid NOT NULL UNIQUE,
    worker text NOT NULL,
    action text NOT NULL CHECK (action IN ('migrate', 'cutover')),
    host_id bigint REFERENCES place (id),
    units integer NOT NULL DEFAULT 0,
    place_ids bigint[] NOT NULL DEFAULT '{}',
    stop boolean NOT NULL DEFAULT false,
    progress jsonb,
    taken_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
  ) WITH (fillfactor = 50);
  CREATE INDEX lease_expires ON lease (expires_at);
  CREATE INDEX lease_worker ON lease (worker);

  CREATE TABLE state (
    vm_id bigint PRIMARY KEY REFERENCES vm (id),
    token bigint NOT NULL,
    pushed_at timestamptz NOT NULL,
    schema_version integer NOT NULL,
    sha256 text NOT NULL,
    bundle bytea NOT NULL
  );
  -- Compressed before it came here.
  ALTER TABLE state ALTER COLUMN bundle SET STORAGE EXTERNAL;

  -- One for each lease that was given out; the newest of each VM are kept.
  CREATE TABLE run (
    token bigint PRIMARY KEY,
    nonce uuid NOT NULL,
    vm_id bigint NOT NULL REFERENCES vm (id),
    worker text NOT NULL,
    action text NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at timestamptz,
    status text CHECK (status IN ('completed', 'failed', 'interrupted', 'lost')),
    exit_code integer,
    error_code text,
    bytes bigint,
    ending jsonb
  );
  CREATE INDEX run_of_vm ON run (vm_id, token DESC);
`;
