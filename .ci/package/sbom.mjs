/** The software bill of materials: CycloneDX 1.6, JSON. */
import { createHash } from "node:crypto";

/** @param {import("./bundled-parts.mjs").Part[]} parts */
export function billOfMaterials({ version, commit, epoch }, parts) {
  const self = {
    type: "application",
    "bom-ref": `pkg:generic/migratekit@${version}`,
    name: "migratekit",
    version,
    licenses: [{ expression: "Apache-2.0" }],
    purl: `pkg:generic/migratekit@${version}`,
    ...(commit && { properties: [{ name: "commit", value: commit }] }),
  };
  const components = [...parts.map(component), ...outside];
  const content = {
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    version: 1,
    metadata: {
      timestamp: new Date(epoch * 1000).toISOString(),
      component: self,
    },
    components,
    dependencies: dependencies(self, parts),
  };
  const { bomFormat, specVersion, ...rest } = content;
  // A serial number from the content: the same commit has the same one.
  return `${JSON.stringify({ bomFormat, specVersion, serialNumber: serialNumber(content), ...rest }, null, 2)}\n`;
}

function component(part) {
  const ref = refOf(part);
  return {
    type: part.kind === "runtime" ? "platform" : "library",
    "bom-ref": ref,
    name: part.name,
    version: part.version,
    ...(part.integrity && { hashes: [hashOf(part.integrity)] }),
    licenses: [{ expression: part.licence }],
    purl: ref,
  };
}

function refOf({ kind, name, version }) {
  const path = name.split("/").map(encodeURIComponent).join("/");
  return `pkg:${kind === "npm" ? "npm" : "generic"}/${path}@${encodeURIComponent(version)}`;
}

/** "sha512-BASE64" of package-lock.json in CycloneDX's spelling. */
function hashOf(integrity) {
  const [, bits, base64] = /^sha(\d+)-(.+)$/.exec(integrity);
  return { alg: `SHA-${bits}`, content: Buffer.from(base64, "base64").toString("hex") };
}

/** Used at run time and not carried along. */
const outside = [
  ["libnbd", "libnbd0", "LGPL-2.1-or-later"],
  ["nbdkit", "nbdkit", "BSD-3-Clause"],
].map(([name, debianPackage, licence]) => ({
  type: "library",
  "bom-ref": `pkg:deb/debian/${debianPackage}`,
  name,
  scope: "excluded",
  licenses: [{ expression: licence }],
  purl: `pkg:deb/debian/${debianPackage}`,
}));

/** npm packages by what they declare, as far as it is bundled; the rest hangs on the program. */
function dependencies(self, parts) {
  const npm = parts.filter(({ kind }) => kind === "npm");
  const needed = new Set(npm.flatMap(({ needs }) => needs));
  const refs = (names) => npm.filter(({ name }) => names.includes(name)).map((part) => refOf(part));
  const direct = parts.filter(({ kind, name }) => kind !== "npm" || !needed.has(name));
  return [
    { ref: self["bom-ref"], dependsOn: direct.map(refOf) },
    ...npm.map((part) => ({ ref: refOf(part), dependsOn: refs(part.needs) })),
  ];
}

function serialNumber(content) {
  const hash = createHash("sha256").update(JSON.stringify(content)).digest("hex");
  const version = `8${hash.slice(13, 16)}`; // RFC 9562: version 8, made from what one likes
  const variant = `8${hash.slice(17, 20)}`;
  const groups = [hash.slice(0, 8), hash.slice(8, 12), version, variant, hash.slice(20, 32)];
  return `urn:uuid:${groups.join("-")}`;
}
