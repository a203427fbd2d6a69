/**
 * Version 2: when VMs become due is kept apart, to the microsecond, so that of those that are due and of those that
 * will be neither a row of theirs nor one of the sums is read for each: `tally.due_in` is of no use any more. It is
 * added up each second, not each ten. What is due is one row for each wave and standing; what is not yet is only
 * skipped, and no more than about two rows for each VM.
 *
 * As before, whoever changes VMs adds what that makes more and less, and waits for nobody.
 */
export const due = `
  -- Writers of the version before end first, as what they change is counted here; their order is pulse, vm.
  LOCK TABLE vm IN SHARE ROW EXCLUSIVE MODE;

  -- How many VMs of the plan have this next_at, as differences that add up to it; '-infinity': were due for a while.
  CREATE TABLE due (
    wave text NOT NULL,
    standing text NOT NULL,
    due_at timestamptz NOT NULL,
    vms bigint NOT NULL
  );
  INSERT INTO due
    SELECT wave, standing, next_at, count(*) FROM vm
    WHERE released_at IS NULL AND next_at IS NOT NULL GROUP BY wave, standing, next_at;

  -- Held by whoever adds up.
  CREATE TABLE added_up (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    added_at timestamptz NOT NULL
  );
  INSERT INTO added_up VALUES (true, '-infinity');

  CREATE OR REPLACE FUNCTION tally_added() RETURNS trigger LANGUAGE plpgsql SET search_path = migratekit, pg_temp AS $$
  BEGIN
    INSERT INTO tally
      SELECT wave, standing, NULL, count(*),
        count(*) FILTER (WHERE synced_at IS NOT NULL AND failures = 0 AND cut_over_at IS NULL),
        coalesce(sum(delta_bytes) FILTER (WHERE cut_over_at IS NULL), 0)
      FROM vms_now WHERE released_at IS NULL GROUP BY wave, standing;
    INSERT INTO due
      SELECT wave, standing, next_at, count(*) FROM vms_now
      WHERE released_at IS NULL AND next_at IS NOT NULL GROUP BY wave, standing, next_at;
    RETURN NULL;
  END $$;

  CREATE OR REPLACE FUNCTION tally_changed() RETURNS trigger LANGUAGE plpgsql SET search_path = migratekit, pg_temp AS $$
  BEGIN
    INSERT INTO tally
      SELECT wave, standing, NULL, vms, coalesce(in_sync, 0), coalesce(delta_bytes, 0) FROM (
        SELECT wave, standing, sum(sign) AS vms,
          sum(sign) FILTER (WHERE synced_at IS NOT NULL AND failures = 0 AND cut_over_at IS NULL) AS in_sync,
          sum(sign * delta_bytes) FILTER (WHERE cut_over_at IS NULL) AS delta_bytes
        FROM (
          SELECT 1 AS sign, wave, standing, synced_at, failures, cut_over_at, delta_bytes, released_at FROM vms_now
          UNION ALL
          SELECT -1, wave, standing, synced_at, failures, cut_over_at, delta_bytes, released_at FROM vms_before) changed
        WHERE released_at IS NULL GROUP BY wave, standing) sums
      WHERE vms <> 0 OR in_sync <> 0 OR delta_bytes <> 0;
    INSERT INTO due
      SELECT wave, standing, next_at, sum(sign) FROM (
        SELECT 1 AS sign, wave, standing, next_at, released_at FROM vms_now
        UNION ALL SELECT -1, wave, standing, next_at, released_at FROM vms_before) changed
      WHERE released_at IS NULL AND next_at IS NOT NULL
      GROUP BY wave, standing, next_at HAVING sum(sign) <> 0;
    RETURN NULL;
  END $$;

  -- One at a time: the caller holds added_up. What others add meanwhile stays for the next. What will be due stays as
  -- it is, unless most of it is changes that add up to nothing. Who looks has a clock of before or after: a second is left.
  CREATE OR REPLACE FUNCTION add_up_tally() RETURNS void LANGUAGE plpgsql AS $$
  DECLARE
    v_past timestamptz := clock_timestamp() - interval '1 second';
    v_vms bigint;
    v_all boolean;
  BEGIN
    WITH gone AS (DELETE FROM tally RETURNING *)
    INSERT INTO tally
      SELECT wave, standing, NULL, sum(vms), sum(in_sync), sum(delta_bytes) FROM gone
      GROUP BY wave, standing
      HAVING sum(vms) <> 0 OR sum(in_sync) <> 0 OR sum(delta_bytes) <> 0;
    SELECT coalesce(sum(vms), 0) INTO v_vms FROM tally;
    v_all := (SELECT count(*) FROM due) > 2 * v_vms + 1000;
    WITH gone AS (DELETE FROM due WHERE v_all OR due_at <= v_past RETURNING *)
    INSERT INTO due
      SELECT wave, standing, CASE WHEN due_at > v_past THEN due_at ELSE '-infinity' END AS at, sum(vms) FROM gone
      GROUP BY wave, standing, at HAVING sum(vms) <> 0;
  END $$;

  CREATE OR REPLACE FUNCTION beat() RETURNS void LANGUAGE plpgsql AS $$
  DECLARE
    v_ttl interval := (SELECT ttl_ms * interval '1 ms' FROM fleet);
    v_now timestamptz := clock_timestamp();
  BEGIN
    PERFORM 1 FROM added_up WHERE added_at < v_now - interval '1 second' FOR UPDATE SKIP LOCKED;
    IF FOUND THEN
      UPDATE added_up SET added_at = v_now;
      PERFORM add_up_tally();
    END IF;
    PERFORM 1 FROM pulse WHERE beat_at < v_now - v_ttl / 12 FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN RETURN; END IF;
    UPDATE pulse SET beat_at = v_now,
      steady_since = CASE WHEN beat_at < v_now - v_ttl / 2 THEN v_now ELSE steady_since END;
  END $$;
`;
