// Signatures that three clients of CloudStack's API make: `.ci/node test/interop/cloudstack/vectors.ts` writes
// what they sign to test/cloudstack/fixtures/signatures.json; a test asks them again.

import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const root = join(import.meta.dirname, "../../..");
export const fixtureFile = join(root, "test/cloudstack/fixtures/signatures.json");
export const goClient = join(root, ".lab/go-cloudstack-client");
/** Debian's, which has the libraries; another may come first in PATH. */
export const python = "/usr/bin/python3";

export interface SignedRequest {
  readonly client: "cs" | "libcloud" | "go-cloudstack";
  /** All that was signed: in clear, as it was sent. */
  readonly parameters: Readonly<Record<string, string>>;
  /** Base64, with the secret key `secret`. */
  readonly signature: string;
  /** Why CloudStack does not believe it: the client escapes a character otherwise than Java does. */
  readonly mistaken?: string;
}

const version3 = { signatureVersion: "3", expires: "2030-01-02T03:04:05+0000" };

/** What they are asked to sign. */
const requests: readonly Readonly<Record<string, string>>[] = [
  { command: "listZones", ...version3 },
  { command: "listVirtualMachines", name: "a*(b)!'~ c+d&e", ...version3 },
  { command: "listVirtualMachines", name: "a(b)!' c+d&e", ...version3 },
  { command: "listVirtualMachines", name: "a*(b)!' c+d&e", ...version3 },
  { command: "listVirtualMachines", keyword: '100% = half/of\\it "quoted" <b> #1?', ...version3 },
  { command: "listVirtualMachines", keyword: "Büro Zürich € 日本 \u{1f600}", ...version3 },
  { command: "listVolumes", keyword: "dash-under_dot. colon:semi;comma,at@", ...version3 },
  { command: "listVolumes", keyword: "two\nlines\tand a tab", ...version3 },
  {
    ...{ command: "deployVirtualMachine", name: "web-01", zoneid: "z", startvm: "false" },
    ...{ "details[0].cpuNumber": "2", "details[0].memory": "1024" },
    ...{
      "iptonetworklist[0].mac": "00:50:56:8A:10:01",
      "iptonetworklist[1].mac": "02:00:00:00:00:01",
    },
    ...version3,
  },
  { command: "queryAsyncJobResult", jobid: "00000000-0000-4000-8000-00000000abcd" },
];

/** Asks all three. */
export async function signByClients(): Promise<SignedRequest[]> {
  const text = JSON.stringify(requests);
  const script = join(import.meta.dirname, "sign.py");
  const [ours, theirs] = await Promise.all([
    run(python, [script, text]),
    run(goClient, ["sign", text]),
  ]);
  const signed = [ours, theirs].flatMap(({ stdout }) => JSON.parse(stdout) as SignedRequest[]);
  return signed.map((request) => {
    const parameters = Object.fromEntries(Object.entries(request.parameters).sort());
    const mistaken = mistakeOf(request);
    const { client, signature } = request;
    return { client, parameters, signature, ...(mistaken && { mistaken }) };
  });
}

/** What is known of them: all leave `~` as it is, which Java escapes, and Go escapes `*`, which Java leaves. */
function mistakeOf({ client, parameters }: SignedRequest): string | undefined {
  const values = Object.values(parameters).join("");
  if (values.includes("~")) return "leaves ~ as it is";
  return client === "go-cloudstack" && values.includes("*") ? "escapes *" : undefined;
}

if (import.meta.main) {
  const text = `${JSON.stringify(await signByClients(), undefined, 2)}\n`;
  await writeFile(fixtureFile, text);
}
