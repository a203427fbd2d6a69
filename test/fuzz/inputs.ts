// What operators and files give: arguments, variables, configuration files, URIs, thumbprints, change
// IDs, and what nbdkit prints. Every text is taken or refused by a typed error that names no secret.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { CommanderError } from "commander";
import { pino } from "pino";
import { isChangeId, splitChangeId } from "../../src/change-id.ts";
import { resolveConfig } from "../../src/config.ts";
import { readConfigFile } from "../../src/config-file.ts";
import { MigratekitError } from "../../src/errors.ts";
import { NbdkitOutput } from "../../src/nbd/nbdkit/output.ts";
import { parseTargets } from "../../src/nbd/target/target.ts";
import {
  displayUri,
  formatNbdUri,
  nbdUri,
  parseNbdUri,
  targetIdentity,
} from "../../src/nbd/target/uri.ts";
import { InvalidValue } from "../../src/option-types.ts";
import { commandNames, type OptionName, options, variablesOf } from "../../src/options.ts";
import { buildProgram } from "../../src/program.ts";
import { normalizeThumbprint } from "../../src/vmware/wire/certificate.ts";
import { outlineOf } from "../../src/vmware/wire/xml-guard.ts";
import { Random } from "../random.ts";
import type { FuzzRun, Outcome } from "./campaign.ts";
import { mutatedText } from "./text-mutations.ts";

const slowMs = 3_000;
const password = "Zq7-fuzz-marker-secret";
const names = Object.keys(options) as OptionName[];

const goodValues = [
  ...[
    "vcenter.example.com:443",
    "[::1]:8443",
    "admin@vsphere.local",
    "/Datacenter/vm/My VM",
    "true",
    "5m",
  ],
  ...["2000:nbd://127.0.0.1:10808/vol,disk-2001:nbds://u@host/x", "200M", "auto", "4", "2001,2002"],
  ...["http://localhost:8081", "nbd+unix:///e?socket=/run/x", "fastlz", "/etc/passwd", "-", ""],
];
const goodYaml = `vmware-endpoint: vcenter.example.com
vmware-username: "admin@vsphere.local"
vmware-password: ${password}
vmware-path: /Datacenter/vm/MyVM
nbd-targets:
  2000: nbd://127.0.0.1:10808/one
  2001: nbd://127.0.0.1:10808/two
skip-disks: [2002, 2003]
max-rate: 200M
debug: false
`;
const goodUris = [
  "nbd://127.0.0.1:10809/volume",
  "nbds://user@host.example:1/a/b?tls-psk-file=/x",
  "nbd+unix:///export?socket=/run/a%20b.sock",
  "nbd://[fe80::1]/%2Fabs",
];
const goodXml = `<?xml version="1.0"?><s:Envelope xmlns:s="x"><s:Body><LoginResponse a='>'><returnval>1</returnval></LoginResponse></s:Body></s:Envelope>`;
const goodLines = [
  "nbdkit: vddk[1]: error: VixDiskLib_Open: [ds] vm/vm.vmdk: Unknown error",
  "nbdkit: vddk[2]: debug: VixDiskLibVim: Failed to verify SSL certificate: actual thumbprint=AA:BB expected=CC",
  "nbdkit: debug: NBD_ClientOpen: attempting to create connection to vpxa-nfcssl://[ds] a/b.vmdk@esx01:902",
  `nbdkit: debug: password=${password} end`,
];

/** Each takes a seed's numbers and asserts; what it throws must be typed. */
const inputs: readonly ((random: Random, folder: string) => void)[] = [
  (random) => {
    const text = mutatedText(random.pick(goodUris), "text", random);
    const target = parseNbdUri(text);
    const again = parseNbdUri(formatNbdUri(target));
    assert.deepEqual(again, target);
    assert.equal(targetIdentity(formatNbdUri(target)), targetIdentity(text));
    assert.ok(!displayUri(text).includes("@"));
  },
  (random) => {
    const name = mutatedText("volume-{key}/ä b", "text", random);
    assert.equal(parseNbdUri(nbdUri("127.0.0.1", 10_809, name)).exportName, name);
  },
  (random) =>
    void parseTargets(mutatedText(random.pick([goodValues[6]!, goodUris[0]!]), "text", random)),
  (random) => {
    const text = mutatedText("52 de c0 d9 1a 2b 3c 4d-6e a2 00 11 22 33 44 08/7", "text", random);
    const parts = splitChangeId(text);
    assert.equal(parts !== undefined, isChangeId(text));
  },
  (random) => {
    const normal = normalizeThumbprint(mutatedText("AB:".repeat(19).concat("AB"), "text", random));
    assert.match(normal, /^([0-9A-F]{2}:){19}([0-9A-F]{2}|([0-9A-F]{2}:){12}[0-9A-F]{2})$/);
    assert.equal(normalizeThumbprint(normal), normal);
  },
  (random) => {
    const spec = options[random.pick(names)];
    spec.parse(mutatedText(random.pick(goodValues), "text", random));
  },
  (random, folder) => {
    const path = join(folder, "config.yaml");
    const yaml = random.chance(0.05)
      ? bombs[random.below(bombs.length)]!
      : mutatedText(goodYaml, "text", random);
    writeFileSync(path, yaml, { mode: 0o600 });
    const file = readConfigFile(path);
    for (const name of file.values.keys()) assert.ok(names.includes(name));
    resolveConfig("migrate", new Map([["config", path]]), {});
  },
  (random) => {
    const environment: Record<string, string> = {};
    for (let left = random.below(6); left > 0; left--) {
      const name = random.pick(names);
      if (name === "config" || name === "vmware-password-file") continue;
      const variable = random.pick(variablesOf(name, options[name]));
      environment[mutatedName(variable, random)] = mutatedText(
        random.pick(goodValues),
        "text",
        random,
      );
    }
    resolveConfig("migrate", new Map(), environment);
  },
  (random) => {
    const quiet = { writeOut: () => {}, writeErr: () => {} };
    const program = buildProgram(() => {});
    const commands = [program, ...program.commands, ...program.commands.flatMap((c) => c.commands)];
    for (const command of commands) command.configureOutput(quiet);
    program.parse(argumentsOf(random), { from: "user" });
  },
  (random) => {
    const lines: string[] = [];
    const logger = pino({ level: "trace" }, { write: (line: string) => void lines.push(line) });
    const output = new NbdkitOutput({ logger, secrets: [password], diskPath: "[ds] a/b.vmdk" });
    for (let left = 5; left > 0; left--)
      output.take(mutatedText(random.pick(goodLines), "text", random));
    const said = [output.lastWords(), output.rootCause()?.message, ...lines].join("\n");
    assert.ok(!said.includes(password), "a line holds the password");
    assert.doesNotMatch(output.rootCause()?.message ?? "", /\p{Cc}/u);
  },
  (random) => {
    const { root } = outlineOf(mutatedText(goodXml, "xml", random));
    assert.ok(root.length > 0);
  },
];

const bombs = [
  `a: &a [x,x,x,x,x,x,x,x,x]\n${"bcdefghi"
    .split("")
    .map((name, at) => `${name}: &${name} [${`*${"abcdefgh"[at]},`.repeat(9)}]`)
    .join("\n")}\n`,
  `vmware-password: *${password}\n`,
  `vmware-password: !${password} x\n`,
  `vmware-password: @${password}\n`,
  `vmware-password: "${password}\n`,
  `vmware-password: {${password}: 1}\n`,
  `? [${password}]\n: 1\n`,
  "a: ".concat("[".repeat(20_000)),
  "<<: *x\nnbd-port: 1\nnbd-port: 2\n",
  "\u0000\u0001\ufffe",
  "- a\n- b\n",
  "%YAML 9.9\n---\nnbd-port: 0x10\n",
];

function mutatedName(name: string, random: Random): string {
  return random.chance(0.2) ? mutatedText(name, "text", random).replaceAll("\0", "") : name;
}

function argumentsOf(random: Random): string[] {
  const args: string[] = random.chance(0.9) ? random.pick(commandNames).split(" ") : [];
  for (let left = random.below(8); left > 0; left--) {
    const flag = mutatedName(`--${random.pick(names)}`, random);
    const value = mutatedText(random.pick(goodValues), "text", random);
    if (random.chance(0.5)) args.push(flag, value);
    else args.push(random.chance(0.5) ? `${flag}=${value}` : flag);
  }
  return args;
}

export interface InputFuzz extends Disposable {
  readonly run: FuzzRun;
}

export function startInputFuzz(): InputFuzz {
  const folder = mkdtempSync(join(tmpdir(), "mk-fuzz-inputs-"));
  return {
    run: async (index, seed): Promise<Outcome> => {
      const random = new Random(seed * 1_000_003 + index);
      const startedMs = performance.now();
      const outcome = attempt(() => inputs[index % inputs.length]!(random, folder));
      const tookMs = performance.now() - startedMs;
      assert.ok(tookMs < slowMs, `took ${tookMs} ms`);
      return outcome;
    },
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

function attempt(work: () => void): Outcome {
  try {
    work();
    return "value";
  } catch (error) {
    judge(error);
    return "error";
  }
}

function judge(error: unknown): void {
  if (error instanceof CommanderError || error instanceof InvalidValue) return;
  if (!(error instanceof MigratekitError)) throw error;
  assert.ok(error.code === "usage" || error.code === "vsphere-protocol", inspect(error));
  const shown = `${error.message} ${error.remedy} ${inspect(error.context)}`;
  assert.ok(!shown.includes(password), `the password is in the error: ${shown}`);
}
