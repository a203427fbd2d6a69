/** What the holder of a lease does; each call shows token and nonce, and a stale one changes nothing. */
export const lease = `
  CREATE FUNCTION renew(p_vm_id bigint, p_token bigint, p_nonce uuid, p_progress jsonb) RETURNS text
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = migratekit, pg_temp AS $$
  DECLARE
    v_stop boolean;
  BEGIN
    PERFORM beat();
    UPDATE lease SET expires_at = clock_timestamp() + (SELECT ttl_ms * interval '1 ms' FROM fleet),
      progress = coalesce(p_progress, progress)
      WHERE vm_id = p_vm_id AND token = p_token AND nonce = p_nonce RETURNING stop INTO v_stop;
    RETURN CASE WHEN NOT FOUND THEN 'lost' WHEN v_stop THEN 'stop' ELSE 'go-on' END;
  END $$;

  -- The row is held, so that nobody ends the lease while the state is written.
  CREATE FUNCTION push(p_vm_id bigint, p_token bigint, p_nonce uuid, p_version integer, p_sha256 text, p_bundle bytea)
  RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = migratekit, pg_temp AS $$
  BEGIN
    PERFORM 1 FROM lease WHERE vm_id = p_vm_id AND token = p_token AND nonce = p_nonce FOR SHARE;
    IF NOT FOUND THEN RETURN false; END IF;
    INSERT INTO state (vm_id, token, pushed_at, schema_version, sha256, bundle)
      VALUES (p_vm_id, p_token, clock_timestamp(), p_version, p_sha256, p_bundle)
      ON CONFLICT (vm_id) DO UPDATE SET token = excluded.token, pushed_at = excluded.pushed_at,
        schema_version = excluded.schema_version, sha256 = excluded.sha256, bundle = excluded.bundle;
    RETURN true;
  END $$;

  -- Counts a run by where it goes: placed, full, too-large or lost. Full: the VM stands in the right line from now on.
  CREATE FUNCTION place_run(p_vm_id bigint, p_token bigint, p_nonce uuid,
    p_host text, p_units integer, p_datastores text[], p_targets text[]) RETURNS text
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = migratekit, pg_temp AS $$
  DECLARE
    v_now timestamptz := clock_timestamp();
    v_fleet fleet%ROWTYPE;
    v_vm vm%ROWTYPE;
    v_lease lease%ROWTYPE;
    v_wanted jsonb;
    v_host_id bigint;
    v_place_ids bigint[];
    v_full boolean;
    v_due timestamptz;
  BEGIN
    SELECT * INTO v_vm FROM vm WHERE id = p_vm_id FOR UPDATE;
    SELECT * INTO v_lease FROM lease WHERE vm_id = p_vm_id AND token = p_token AND nonce = p_nonce FOR UPDATE;
    IF NOT FOUND THEN RETURN 'lost'; END IF;
    SELECT * INTO v_fleet FROM fleet;
    IF p_units > v_fleet.host_connections THEN RETURN 'too-large'; END IF;
    SELECT jsonb_agg(wanted ORDER BY kind, name) INTO v_wanted FROM (
      SELECT 'host' AS kind, p_host AS name
      UNION SELECT 'datastore', unnest(p_datastores) UNION SELECT 'target', unnest(p_targets)) wanted
      WHERE NOT EXISTS (SELECT 1 FROM place p WHERE p.kind = wanted.kind AND p.name = wanted.name);
    IF v_wanted IS NOT NULL THEN
      -- Limits that a plan changes at this moment would miss a place that is not there yet.
      SELECT * INTO v_fleet FROM fleet FOR SHARE;
      INSERT INTO place (kind, name, capacity, ceiling)
        SELECT kind, name, capacity, capacity FROM (
          SELECT kind, name, CASE kind WHEN 'host' THEN v_fleet.host_connections
            WHEN 'datastore' THEN v_fleet.datastore_runs ELSE v_fleet.target_runs END AS capacity
          FROM jsonb_to_recordset(v_wanted) AS each (kind text, name text)) new
        ORDER BY kind, name ON CONFLICT DO NOTHING;
    END IF;
    SELECT id INTO v_host_id FROM place WHERE kind = 'host' AND name = p_host;
    SELECT coalesce(array_agg(id ORDER BY id), '{}') INTO v_place_ids FROM place
      WHERE (kind = 'datastore' AND name = ANY (p_datastores)) OR (kind = 'target' AND name = ANY (p_targets));
    PERFORM 1 FROM place
      WHERE id IN (v_lease.host_id, v_host_id) OR id = ANY (v_lease.place_ids) OR id = ANY (v_place_ids)
      ORDER BY id FOR UPDATE;
    v_full := EXISTS (
      SELECT 1 FROM place p CROSS JOIN LATERAL (
        SELECT CASE WHEN p.id = v_host_id THEN p_units WHEN p.id = ANY (v_place_ids) THEN 1 ELSE 0 END AS wanted,
          CASE WHEN p.id = v_lease.host_id THEN v_lease.units WHEN p.id = ANY (v_lease.place_ids) THEN 1 ELSE 0 END AS held
      ) counts
      WHERE (p.id = v_host_id OR p.id = ANY (v_place_ids)) AND p.capacity > 0
        AND counts.wanted > counts.held AND p.used - counts.held + counts.wanted > p.capacity);
    IF NOT v_full AND v_host_id IS DISTINCT FROM v_lease.host_id THEN
      -- Who comes to a host does not overtake those who stand in line there.
      v_due := coalesce(CASE v_lease.action WHEN 'cutover' THEN v_vm.cutover_at ELSE v_vm.sync_at END, v_now);
      v_full := EXISTS (
        SELECT 1 FROM line l JOIN place p ON p.id = l.host_id
        CROSS JOIN (VALUES (false), (true)) AS kind (fresh) CROSS JOIN LATERAL (
          SELECT vm.id, vm.priority, vm.rank, vm.next_at, vm.waits_since, vm.units FROM vm
          WHERE vm.line_id = l.id AND vm.fresh = kind.fresh AND vm.next_at <= v_now
            AND ((vm.sync_at <= v_now AND (vm.sync_until IS NULL OR v_now < vm.sync_until))
              OR (vm.cutover_ready AND vm.cutover_at <= v_now AND (vm.cutover_until IS NULL OR v_now < vm.cutover_until)))
          ORDER BY vm.priority DESC, vm.rank, vm.next_at, vm.waits_since, vm.id LIMIT 1
        ) first
        WHERE l.host_id = v_host_id
          AND EXISTS (SELECT 1 FROM worker w
            WHERE w.seen_at > v_now - v_fleet.ttl_ms * interval '1 ms' AND l.labels <@ w.labels)
          AND (-first.priority, turn_of(kind.fresh, first.next_at, l.first_copy_at),
              first.rank, first.next_at, first.waits_since, first.id)
            < (-v_vm.priority, turn_of(v_vm.fresh, v_due, l.first_copy_at),
              v_vm.rank, v_due, v_vm.waits_since, v_vm.id)
          AND p.used + p_units + least(first.units, p.capacity) > p.capacity);
    END IF;
    UPDATE vm SET line_id = line_for(v_host_id, labels), units = p_units, place_ids = v_place_ids WHERE id = p_vm_id;
    IF v_full THEN RETURN 'full'; END IF;
    UPDATE place SET used = used + counts.change, ceiling = greatest(capacity, least(ceiling, used + counts.change))
      FROM (
        SELECT p.id, CASE WHEN p.id = v_host_id THEN p_units WHEN p.id = ANY (v_place_ids) THEN 1 ELSE 0 END
          - CASE WHEN p.id = v_lease.host_id THEN v_lease.units WHEN p.id = ANY (v_lease.place_ids) THEN 1 ELSE 0 END AS change
        FROM place p
        WHERE p.id IN (v_lease.host_id, v_host_id) OR p.id = ANY (v_lease.place_ids) OR p.id = ANY (v_place_ids)
      ) counts WHERE counts.id = place.id AND counts.change <> 0;
    UPDATE lease SET host_id = v_host_id, units = p_units, place_ids = v_place_ids WHERE vm_id = p_vm_id;
    RETURN 'placed';
  END $$;

  -- Gives a lease back. p holds what the schedule made of the outcome: see finish.ts. Answers finished, changed (the
  -- VM's entry was, meanwhile: compute again), already (by this lease, with an answer that got lost) or lost.
  CREATE FUNCTION finish(p_vm_id bigint, p_token bigint, p_nonce uuid, p jsonb) RETURNS text
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = migratekit, pg_temp AS $$
  DECLARE
    v_now timestamptz := clock_timestamp();
    v_vm vm%ROWTYPE;
    v_lease lease%ROWTYPE;
  BEGIN
    SELECT * INTO v_vm FROM vm WHERE id = p_vm_id FOR UPDATE;
    SELECT * INTO v_lease FROM lease WHERE vm_id = p_vm_id AND token = p_token AND nonce = p_nonce FOR UPDATE;
    IF NOT FOUND THEN
      RETURN CASE WHEN EXISTS (SELECT 1 FROM run WHERE token = p_token AND nonce = p_nonce AND status <> 'lost')
        THEN 'already' ELSE 'lost' END;
    END IF;
    IF v_vm.entry_version <> (p ->> 'entryVersion')::integer THEN RETURN 'changed'; END IF;
    UPDATE run SET ended_at = v_now, status = p ->> 'status', exit_code = (p ->> 'exitCode')::integer,
      error_code = p #>> '{error,code}', bytes = (p ->> 'bytes')::bigint, ending = p -> 'ending'
      WHERE token = p_token;
    DELETE FROM run WHERE vm_id = p_vm_id AND token <
      (SELECT token FROM run WHERE vm_id = p_vm_id ORDER BY token DESC OFFSET 50 LIMIT 1);
    DELETE FROM lease WHERE vm_id = p_vm_id;
    UPDATE vm SET leased = false, word_for_token = NULL,
      sync_at = (p ->> 'syncAt')::timestamptz, sync_until = (p ->> 'syncUntil')::timestamptz,
      cutover_at = (p ->> 'cutoverAt')::timestamptz, cutover_until = (p ->> 'cutoverUntil')::timestamptz,
      -- An interrupted run keeps its turn.
      waits_since = CASE p ->> 'status' WHEN 'interrupted' THEN waits_since
        ELSE coalesce((p ->> 'syncAt')::timestamptz, v_now) END,
      failures = (p ->> 'failures')::integer, cutover_failures = (p ->> 'cutoverFailures')::integer,
      failed = (p ->> 'failed')::boolean,
      last_error = CASE p ->> 'status' WHEN 'completed' THEN NULL WHEN 'failed' THEN p -> 'error' || jsonb_build_object('at', v_now)
        ELSE last_error END,
      synced_at = CASE p ->> 'status' WHEN 'completed' THEN v_now ELSE synced_at END,
      delta_bytes = CASE p ->> 'status' WHEN 'completed' THEN (p ->> 'bytes')::bigint ELSE delta_bytes END,
      unclean = unclean AND p ->> 'status' <> 'completed',
      cut_over_at = CASE WHEN p ->> 'status' = 'completed' AND v_lease.action = 'cutover' THEN v_now END
      WHERE id = p_vm_id;
    IF p ->> 'status' = 'completed' AND v_lease.action = 'cutover' THEN
      UPDATE vm SET cutover_ready = true WHERE cutover_asked_at IS NOT NULL AND NOT cutover_ready
        AND after_names @> ARRAY[v_vm.name] AND may_cut_over(after_names);
    END IF;
    PERFORM count_places(-1, v_lease.host_id, v_lease.units, v_lease.place_ids);
    PERFORM pg_notify('migratekit_fleet', '');
    RETURN 'finished';
  END $$;

  CREATE FUNCTION may_cut_over(p_after text[]) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT NOT EXISTS (SELECT 1 FROM unnest(p_after) wanted (name)
      WHERE NOT EXISTS (SELECT 1 FROM vm WHERE vm.name = wanted.name AND vm.cut_over_at IS NOT NULL))
  $$;

  CREATE FUNCTION register(p_name text, p_labels text[], p_version text, p_parallel integer) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = migratekit, pg_temp AS $$
  BEGIN
    PERFORM beat();
    INSERT INTO worker (name, labels, version, parallel, seen_at)
      VALUES (p_name, p_labels, p_version, p_parallel, clock_timestamp())
      ON CONFLICT (name) DO UPDATE SET labels = excluded.labels, version = excluded.version,
        parallel = excluded.parallel, seen_at = excluded.seen_at;
  END $$;

  CREATE FUNCTION unregister(p_name text) RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = migratekit, pg_temp AS $$
    DELETE FROM worker WHERE name = p_name
  $$;
`;

/** What a worker may call; the rest is for them and for operators. */
export const workerFunctions = [
  ...["claim", "missed", "reschedule", "renew", "push", "place_run", "finish"],
  ...["register", "unregister"],
] as const;
