// Changes to a text that was good: cuts, repetitions, noise, other numbers, other structure.

import type { Random } from "../random.ts";

type Mutation = (text: string, random: Random) => string;

const strangeNumbers = [
  "-1",
  "0",
  "1",
  "1e308",
  "9007199254740993",
  "4294967296",
  "NaN",
  "0x10",
  "",
];
const strangeTexts = [
  "",
  " ",
  "null",
  "true",
  "[]",
  "{}",
  "\u0000",
  "\u001b[2J",
  "__proto__",
  "../..",
  "%2f",
  "$(id)",
  "'\"<>&",
];

const anywhere: Mutation[] = [
  (text, random) => text.slice(0, random.below(text.length + 1)),
  (text, random) => text.slice(random.below(text.length + 1)),
  (text, random) => stretch(text, random, (part) => part + part),
  (text, random) => stretch(text, random, () => ""),
  (text, random) => stretch(text, random, (part) => part.split("").reverse().join("")),
  (text, random) => stretch(text, random, () => String.fromCodePoint(random.below(0xd7ff))),
  (text, random) => stretch(text, random, () => random.pick(strangeTexts)),
  (text, random) => stretch(text, random, (part) => part.toUpperCase()),
  (text, random) => one(text, /\d+/g, random, () => random.pick(strangeNumbers)),
  (text, random) => text + random.pick(strangeTexts),
  (text, random) => random.pick(strangeTexts) + text,
];

const inXml: Mutation[] = [
  (text, random) =>
    one(
      text,
      />[^<]+</g,
      random,
      () => `>${escapeXml(random.pick([...strangeTexts, "vm-1", "[ds] a.vmdk"]))}<`,
    ),
  (text, random) =>
    one(
      text,
      /<(\w+)/g,
      random,
      () =>
        `<${random.pick(["returnval", "val", "__proto__", "objects", "toString", "constructor"])}`,
    ),
  (text, random) =>
    one(text, /(xsi:)?type="[^"]*"/g, random, () =>
      random.pick([
        "",
        'type=""',
        'xsi:type="VirtualDisk"',
        'xsi:type="xsd:int"',
        'xsi:nil="true"',
        'id="__proto__"',
        'href="#x"',
      ]),
    ),
  (text, random) =>
    one(text, /<(\w+)[^>]*>[^<]*<\/\1>/g, random, (found) => found.repeat(1 + random.below(4))),
  (text, random) => one(text, /<(\w+)[^>]*>[^<]*<\/\1>/g, random, () => ""),
  (text, random) => one(text, /<(\w+)>/g, random, (found) => found.repeat(random.pick([2, 300]))),
  (text, random) =>
    one(
      text,
      />[^<]+</g,
      random,
      () => `>${random.pick(["&lt;", "&bomb;", "&#0;", "<![CDATA[x]]>", "<!-- -->"])}<`,
    ),
  (text) => `<!DOCTYPE x [<!ENTITY a "${"b".repeat(100)}"><!ENTITY c "&a;&a;&a;">]>${text}`,
];

const inJson: Mutation[] = [
  (text, random) =>
    one(text, /"[^"]*"/g, random, () =>
      random.pick(["1", "null", "[]", "{}", '"__proto__"', '""', "1e999", '"\\ud800"']),
    ),
  (text, random) =>
    one(text, /[:,]/g, random, (found) => random.pick([found + found, "", "}", "]"])),
  (text, random) =>
    one(
      text,
      /\{/g,
      random,
      (found) =>
        found + random.pick(['"__proto__":{"polluted":1},', '"error":"x",', '"a":'.repeat(3)]),
    ),
  (text) => `[${text}]`,
  (text, random) => `${"[".repeat(random.pick([10, 100_000]))}${text}`,
  (text) => `\ufeff${text}`,
];

/** One to three changes; those of the text's own kind as often as the others. */
export function mutatedText(text: string, kind: "xml" | "json" | "text", random: Random): string {
  const own = { xml: inXml, json: inJson, text: [] }[kind];
  let changed = text;
  for (let left = 1 + random.below(3); left > 0; left--) {
    const from = own.length > 0 && random.chance(0.5) ? own : anywhere;
    changed = random.pick(from)(changed, random);
  }
  return changed;
}

function stretch(text: string, random: Random, change: (part: string) => string): string {
  const from = random.below(text.length + 1);
  const to = Math.min(from + 1 + Math.floor(random.next() ** 3 * 200), text.length);
  return text.slice(0, from) + change(text.slice(from, to)) + text.slice(to);
}

function one(
  text: string,
  pattern: RegExp,
  random: Random,
  change: (found: string) => string,
): string {
  const matches = [...text.matchAll(pattern)];
  if (matches.length === 0) return text;
  const chosen = random.pick(matches);
  const end = chosen.index + chosen[0].length;
  return text.slice(0, chosen.index) + change(chosen[0]) + text.slice(end);
}

function escapeXml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
