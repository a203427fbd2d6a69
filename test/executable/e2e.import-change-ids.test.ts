// The same tests, against the executable.
import "./use-executable.ts";
import "../package/import-change-ids.test.ts";
