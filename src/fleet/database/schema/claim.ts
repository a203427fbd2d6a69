/**
 * Who is next. Of each line the first VM that was synced before is looked at, and the first of those that were not,
 * in the order priority, turn, due time, waiting time; a head
 * that lacks room somewhere keeps what it needs from all who come after it, so that a large VM gets its
 * turn however many small ones there are. Where a head waits for a datastore or a target server, or for a worker
 * with other labels, those behind it may take what it leaves.
 *
 * Locks are taken in one order everywhere: vm, lease, place by id; and the places of one VM at most in a transaction.
 */
export const claim = `
  -- Notes that the database is spoken to; a gap of half a lease's life means that renewals were not possible.
  CREATE FUNCTION beat() RETURNS void LANGUAGE plpgsql AS $$
  DECLARE
    v_ttl interval := (SELECT ttl_ms * interval '1 ms' FROM fleet);
    v_now timestamptz := clock_timestamp();
  BEGIN
    PERFORM 1 FROM pulse WHERE beat_at < v_now - v_ttl / 12 FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN RETURN; END IF;
    UPDATE pulse SET beat_at = v_now,
      steady_since = CASE WHEN beat_at < v_now - v_ttl / 2 THEN v_now ELSE steady_since END;
    PERFORM add_up_tally();
  END $$;

  -- A lease's life and what is waited for after it.
  CREATE FUNCTION grace() RETURNS interval LANGUAGE sql STABLE AS $$
    SELECT greatest(grace_ms, coalesce(target_drop_ms, 0)) * interval '1 ms' FROM fleet
  $$;

  -- By when VMs of one priority are ordered. A first copy lets others pass, but not for longer than an hour since it
  -- was due or another began in its line: with thousands of them those that are in sync would grow stale.
  CREATE FUNCTION turn_of(p_fresh boolean, p_due timestamptz, p_first_copy_at timestamptz) RETURNS timestamptz
  LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_fresh THEN greatest(p_due, p_first_copy_at) + interval '1 hour' ELSE p_due END
  $$;

  CREATE FUNCTION line_for(p_host_id bigint, p_labels text[]) RETURNS bigint LANGUAGE plpgsql AS $$
  DECLARE
    v_id bigint;
  BEGIN
    LOOP
      SELECT id INTO v_id FROM line
        WHERE coalesce(host_id, 0) = coalesce(p_host_id, 0) AND labels = p_labels;
      IF FOUND THEN RETURN v_id; END IF;
      INSERT INTO line (host_id, labels) VALUES (p_host_id, p_labels) ON CONFLICT DO NOTHING;
    END LOOP;
  END $$;

  -- Adds to (1) or takes from (-1) what is counted at a lease's places. The caller holds the lease.
  CREATE FUNCTION count_places(p_sign integer, p_host_id bigint, p_units integer, p_place_ids bigint[])
  RETURNS void LANGUAGE plpgsql AS $$
  BEGIN
    PERFORM 1 FROM place WHERE id = p_host_id OR id = ANY (p_place_ids) ORDER BY id FOR UPDATE;
    UPDATE place SET
      used = used + p_sign * CASE WHEN id = p_host_id THEN p_units ELSE 1 END,
      ceiling = greatest(capacity, least(ceiling, used + p_sign * CASE WHEN id = p_host_id THEN p_units ELSE 1 END))
      WHERE id = p_host_id OR id = ANY (p_place_ids);
  END $$;

  -- Ends one lease whose worker is gone: after its life and the grace, if renewals were possible all that
  -- time, and if it is known when targets let go of a silent connection, or an operator gave his word.
  CREATE FUNCTION reap_one() RETURNS boolean LANGUAGE plpgsql AS $$
  DECLARE
    v_now timestamptz := clock_timestamp();
    v_ttl interval := (SELECT ttl_ms * interval '1 ms' FROM fleet);
    v_drop_known boolean := (SELECT target_drop_ms IS NOT NULL FROM fleet);
    v_steady timestamptz := (SELECT greatest(steady_since, pg_postmaster_start_time()) FROM pulse);
    v_dead record;
    v_lease lease%ROWTYPE;
    v_vm vm%ROWTYPE;
    v_pause interval;
  BEGIN
    IF v_now < v_steady + v_ttl + grace() THEN RETURN false; END IF;
    FOR v_dead IN
      SELECT l.vm_id FROM lease l JOIN vm ON vm.id = l.vm_id
      WHERE l.expires_at < v_now - grace() AND (v_drop_known OR vm.word_for_token = l.token)
      ORDER BY l.expires_at LIMIT 10
    LOOP
      SELECT * INTO v_vm FROM vm WHERE id = v_dead.vm_id FOR UPDATE SKIP LOCKED;
      CONTINUE WHEN NOT FOUND;
      SELECT * INTO v_lease FROM lease WHERE vm_id = v_dead.vm_id AND expires_at < v_now - grace()
        FOR UPDATE SKIP LOCKED;
      CONTINUE WHEN NOT FOUND;
      UPDATE run SET status = 'lost', ended_at = v_now WHERE token = v_lease.token;
      DELETE FROM lease WHERE vm_id = v_dead.vm_id;
      -- The first time at once; what takes its workers along more than once comes with pauses.
      v_pause := CASE WHEN v_vm.failures + v_vm.cutover_failures = 0 THEN interval '0'
        ELSE least(interval '1 minute' * 2 ^ least(v_vm.failures + v_vm.cutover_failures - 1, 10), interval '1 hour') END;
      UPDATE vm SET leased = false, unclean = true, word_for_token = NULL,
        failures = failures + CASE v_lease.action WHEN 'migrate' THEN 1 ELSE 0 END,
        cutover_failures = cutover_failures + CASE v_lease.action WHEN 'cutover' THEN 1 ELSE 0 END,
        -- As verdict.ts has it: each try of a cutover may shut the guest down.
        failed = v_lease.action = 'cutover' AND cutover_failures + 1 >= 3,
        last_error = jsonb_build_object('at', v_now, 'message',
          format('the worker %s was not heard of any more', v_lease.worker)),
        sync_at = CASE WHEN v_lease.action = 'migrate' AND v_pause > interval '0' THEN v_now + v_pause
          ELSE sync_at END,
        -- Its guest may be down: it goes on whether or not the window is open.
        cutover_at = CASE v_lease.action WHEN 'cutover' THEN v_now + v_pause ELSE cutover_at END,
        cutover_until = CASE v_lease.action WHEN 'cutover' THEN NULL ELSE cutover_until END
        WHERE id = v_dead.vm_id;
      PERFORM count_places(-1, v_lease.host_id, v_lease.units, v_lease.place_ids);
      PERFORM pg_notify('migratekit_fleet', '');
      RETURN true;
    END LOOP;
    RETURN false;
  END $$;

  CREATE FUNCTION describe(p_outcome text, p_lease lease) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('outcome', p_outcome, 'vmId', vm.id, 'token', p_lease.token::text,
      'nonce', p_lease.nonce, 'action', p_lease.action, 'entry', vm.entry, 'unclean', vm.unclean,
      'ttlMs', (SELECT ttl_ms FROM fleet))
    FROM vm WHERE vm.id = p_lease.vm_id
  $$;

  -- Outcomes: claimed; none; again: ask once more at once; missed: windows closed before somebody's turn, see missed().
  CREATE FUNCTION claim(p_worker text, p_labels text[], p_nonce uuid) RETURNS jsonb
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = migratekit, pg_temp SET enable_seqscan = off AS $$
  DECLARE
    v_now timestamptz := clock_timestamp();
    v_ttl interval := (SELECT ttl_ms * interval '1 ms' FROM fleet);
    v_lease lease%ROWTYPE;
    v_vm vm%ROWTYPE;
    v_head record;
    v_kept jsonb := '{}'; -- by heads that wait: units or runs, by the place's id
    v_full bigint[] := '{}';
    v_place_id bigint;
    v_host_is_full boolean;
    v_lacks boolean;
    v_place_was_full boolean := false;
    v_collided boolean := false;
    v_host_id bigint;
    v_units integer;
  BEGIN
    PERFORM beat();
    -- What was given out with an answer that got lost.
    UPDATE lease SET expires_at = v_now + v_ttl WHERE nonce = p_nonce AND worker = p_worker
      RETURNING * INTO v_lease;
    IF FOUND THEN RETURN describe('claimed', v_lease); END IF;
    IF v_now < (SELECT claims_from FROM fleet) THEN RETURN '{"outcome": "none"}'; END IF;
    IF reap_one() THEN RETURN '{"outcome": "again"}'; END IF;
    IF EXISTS (SELECT 1 FROM missed(1)) THEN RETURN '{"outcome": "missed"}'; END IF;

    FOR v_round IN 1 .. 2 LOOP
      FOR v_head IN
        SELECT l.id AS line_id, l.host_id, l.labels <@ p_labels AS mine, first.id, first.place_ids,
          least(first.units, p.capacity) AS units, p.capacity, p.used
        FROM line l
        CROSS JOIN (VALUES (false), (true)) AS kind (fresh)
        CROSS JOIN LATERAL (
          SELECT vm.id, vm.priority, vm.rank, vm.next_at, vm.waits_since, vm.units, vm.place_ids FROM vm
          WHERE vm.line_id = l.id AND vm.fresh = kind.fresh AND vm.next_at <= v_now
            AND ((vm.sync_at <= v_now AND (vm.sync_until IS NULL OR v_now < vm.sync_until))
              OR (vm.cutover_ready AND vm.cutover_at <= v_now AND (vm.cutover_until IS NULL OR v_now < vm.cutover_until)))
            AND (v_round = 1 OR NOT vm.place_ids && v_full)
          ORDER BY vm.priority DESC, vm.rank, vm.next_at, vm.waits_since, vm.id LIMIT 1
        ) first
        LEFT JOIN place p ON p.id = l.host_id
        WHERE l.labels <@ p_labels OR (v_round = 1 AND EXISTS (
          SELECT 1 FROM worker w WHERE w.seen_at > v_now - v_ttl AND l.labels <@ w.labels))
        ORDER BY first.priority DESC, turn_of(kind.fresh, first.next_at, l.first_copy_at),
          first.rank, first.next_at, first.waits_since, first.id
      LOOP
        v_host_is_full := v_head.host_id IS NOT NULL AND
          v_head.used + coalesce((v_kept ->> v_head.host_id::text)::integer, 0) + v_head.units > v_head.capacity;
        v_lacks := false;
        IF NOT v_host_is_full AND v_head.place_ids <> '{}' THEN
          v_lacks := EXISTS (SELECT 1 FROM place p WHERE p.id = ANY (v_head.place_ids) AND p.capacity > 0
            AND p.used + coalesce((v_kept ->> p.id::text)::integer, 0) + 1 > p.capacity);
        END IF;
        IF v_host_is_full OR v_lacks OR NOT v_head.mine THEN
          v_place_was_full := v_place_was_full OR v_lacks;
          CONTINUE WHEN v_round = 2;
          IF v_head.host_id IS NOT NULL THEN
            v_kept := v_kept || jsonb_build_object(v_head.host_id::text,
              coalesce((v_kept ->> v_head.host_id::text)::integer, 0) + v_head.units);
          END IF;
          FOREACH v_place_id IN ARRAY v_head.place_ids LOOP
            v_kept := v_kept || jsonb_build_object(v_place_id::text,
              coalesce((v_kept ->> v_place_id::text)::integer, 0) + 1);
          END LOOP;
          CONTINUE;
        END IF;

        SELECT * INTO v_vm FROM vm
          WHERE id = v_head.id AND line_id = v_head.line_id AND next_at <= v_now FOR UPDATE SKIP LOCKED;
        IF NOT FOUND THEN -- another claim is at it; who comes after it must not overtake it
          v_collided := true;
          CONTINUE;
        END IF;
        v_host_id := v_head.host_id;
        v_units := CASE WHEN v_host_id IS NULL THEN 0
          ELSE least(v_vm.units, (SELECT capacity FROM place WHERE id = v_host_id)) END;
        -- Lock, then look in a statement of its own: one statement would look at what was before the wait.
        PERFORM 1 FROM place WHERE id = v_host_id OR id = ANY (v_vm.place_ids) ORDER BY id FOR UPDATE;
        IF EXISTS (SELECT 1 FROM place p WHERE p.capacity > 0 AND (
            (p.id = v_host_id AND p.used + v_units > p.capacity)
            OR (p.id = ANY (v_vm.place_ids) AND p.used + 1 > p.capacity))) THEN
          RETURN '{"outcome": "again"}'; -- not the next head: its places would be locked out of order
        END IF;
        PERFORM count_places(1, v_host_id, v_units, v_vm.place_ids);
        INSERT INTO lease (vm_id, token, nonce, worker, action, host_id, units, place_ids, taken_at, expires_at)
          VALUES (v_vm.id, nextval('token'), p_nonce, p_worker,
            CASE WHEN v_vm.cutover_ready AND v_vm.cutover_at <= v_now
              AND (v_vm.cutover_until IS NULL OR v_now < v_vm.cutover_until) THEN 'cutover' ELSE 'migrate' END,
            v_host_id, v_units, v_vm.place_ids, v_now, clock_timestamp() + v_ttl)
          RETURNING * INTO v_lease;
        INSERT INTO run (token, nonce, vm_id, worker, action, started_at)
          VALUES (v_lease.token, p_nonce, v_vm.id, p_worker, v_lease.action, v_now);
        UPDATE vm SET leased = true, started_at = v_now WHERE id = v_vm.id;
        IF v_vm.fresh THEN UPDATE line SET first_copy_at = v_now WHERE id = v_head.line_id; END IF;
        RETURN describe('claimed', v_lease);
      END LOOP;
      EXIT WHEN NOT v_place_was_full;
      SELECT coalesce(array_agg(p.id), '{}') INTO v_full FROM place p WHERE p.kind <> 'host' AND p.capacity > 0
        AND p.used + coalesce((v_kept ->> p.id::text)::integer, 0) >= p.capacity;
    END LOOP;
    RETURN jsonb_build_object('outcome', CASE WHEN v_collided THEN 'again' ELSE 'none' END);
  END $$;

  -- VMs whose window closed before it was their turn: whoever claims computes the next one (schedules are not SQL).
  CREATE FUNCTION missed(p_most integer) RETURNS TABLE (id bigint, action text, until timestamptz, entry jsonb)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = migratekit, pg_temp AS $$
    (SELECT vm.id, 'migrate', vm.sync_until, vm.entry FROM vm
      WHERE vm.sync_until <= statement_timestamp() AND vm.sync_until IS NOT NULL AND vm.next_at IS NOT NULL
      ORDER BY vm.sync_until LIMIT p_most)
    UNION ALL
    (SELECT vm.id, 'cutover', vm.cutover_until, vm.entry FROM vm
      WHERE vm.cutover_until <= statement_timestamp() AND vm.cutover_until IS NOT NULL AND vm.next_at IS NOT NULL
      ORDER BY vm.cutover_until LIMIT p_most)
  $$;

  -- The turn is kept: among those that are due with the next window, who waits longest is first.
  CREATE FUNCTION reschedule(p_id bigint, p_action text, p_until timestamptz, p_next timestamptz, p_next_until timestamptz)
  RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = migratekit, pg_temp AS $$
    UPDATE vm SET
      sync_at = CASE p_action WHEN 'migrate' THEN p_next ELSE sync_at END,
      sync_until = CASE p_action WHEN 'migrate' THEN p_next_until ELSE sync_until END,
      cutover_at = CASE p_action WHEN 'cutover' THEN p_next ELSE cutover_at END,
      cutover_until = CASE p_action WHEN 'cutover' THEN p_next_until ELSE cutover_until END
    WHERE id = p_id AND NOT leased
      AND p_until = CASE p_action WHEN 'migrate' THEN sync_until ELSE cutover_until END
  $$;
`;
