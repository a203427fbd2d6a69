// The same tests, against the executable.
import "./use-executable.ts";
import "../e2e/usage.test.ts";
