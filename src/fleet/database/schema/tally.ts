/** What of a VM is added up, of VMs as `changed (sign, …)` has them: 1 as they are now, -1 as they were. */
const sums = `
  wave, standing, floor(extract(epoch FROM next_at) / 10)::bigint AS due_in, sum(sign) AS vms,
  sum(sign) FILTER (WHERE synced_at IS NOT NULL AND failures = 0 AND cut_over_at IS NULL) AS in_sync,
  sum(sign * delta_bytes) FILTER (WHERE cut_over_at IS NULL) AS delta_bytes`;
const columns =
  "wave, standing, next_at, synced_at, failures, cut_over_at, delta_bytes, released_at";

/**
 * Keeps `tally` what a count of the VMs would give, so that a look at the fleet costs the same with 100 VMs and
 * with 10,000. Whoever changes VMs adds what that makes more and less, which waits for nobody and keeps nobody
 * waiting; with the pulse it is added up. No VM is ever deleted. Of version 1: due.ts has what followed.
 */
export const tally = `
  CREATE FUNCTION tally_added() RETURNS trigger LANGUAGE plpgsql SET search_path = migratekit, pg_temp AS $$
  BEGIN
    INSERT INTO tally
      SELECT wave, standing, due_in, vms, coalesce(in_sync, 0), coalesce(delta_bytes, 0) FROM (
        SELECT ${sums} FROM (SELECT 1 AS sign, ${columns} FROM vms_now) changed
        WHERE released_at IS NULL GROUP BY wave, standing, due_in) sums;
    RETURN NULL;
  END $$;
  CREATE TRIGGER tally_added AFTER INSERT ON vm REFERENCING NEW TABLE AS vms_now
    FOR EACH STATEMENT EXECUTE FUNCTION tally_added();

  CREATE FUNCTION tally_changed() RETURNS trigger LANGUAGE plpgsql SET search_path = migratekit, pg_temp AS $$
  BEGIN
    INSERT INTO tally
      SELECT wave, standing, due_in, vms, coalesce(in_sync, 0), coalesce(delta_bytes, 0) FROM (
        SELECT ${sums} FROM (
          SELECT 1 AS sign, ${columns} FROM vms_now UNION ALL SELECT -1, ${columns} FROM vms_before) changed
        WHERE released_at IS NULL GROUP BY wave, standing, due_in) sums
      WHERE vms <> 0 OR in_sync <> 0 OR delta_bytes <> 0;
    RETURN NULL;
  END $$;
  CREATE TRIGGER tally_changed AFTER UPDATE ON vm REFERENCING OLD TABLE AS vms_before NEW TABLE AS vms_now
    FOR EACH STATEMENT EXECUTE FUNCTION tally_changed();

  -- One at a time: the caller holds the pulse. What others add meanwhile stays for the next.
  CREATE FUNCTION add_up_tally() RETURNS void LANGUAGE sql AS $$
    WITH gone AS (DELETE FROM tally RETURNING *)
    INSERT INTO tally
      SELECT wave, standing, due_in, sum(vms), sum(in_sync), sum(delta_bytes) FROM gone
      GROUP BY wave, standing, due_in
      HAVING sum(vms) <> 0 OR sum(in_sync) <> 0 OR sum(delta_bytes) <> 0
  $$;
`;
