/**
 * A look at an answer's tags before the real parser builds objects from it. The parser in node-soap knows no
 * limits, follows `id`/`href` pairs into the object prototype, and takes a page of HTML for an envelope; vim25
 * answers need none of that. One pass, no allocation per tag but its name.
 */

import { protocolError } from "./values.ts";

/** Deeper than any answer: a tree of 32 snapshots under a virtual machine stays below 60. */
const maxDepth = 200;

/** Local names of the elements that tell an answer from anything else. */
export interface Outline {
  readonly root: string;
  /** First element inside `Body`. */
  readonly content: string | undefined;
}

/** Throws `vsphere-protocol` for text that is not one complete, plain, shallow XML document. */
export function outlineOf(xml: string): Outline {
  const open: string[] = [];
  let root: string | undefined;
  let content: string | undefined;
  for (let at = xml.indexOf("<"); at !== -1; at = xml.indexOf("<", at)) {
    if (xml.startsWith("<!--", at)) at = after(xml, "-->", at + 4);
    else if (xml.startsWith("<![CDATA[", at)) at = after(xml, "]]>", at + 9);
    else if (xml.startsWith("<?", at)) at = after(xml, "?>", at + 2);
    else if (xml.startsWith("<!", at)) throw protocolError("the answer declares a document type");
    else {
      const end = endOfTag(xml, at);
      const tag = readTag(xml, at, end);
      if (tag.closes) {
        if (open.pop() !== tag.name) throw broken("a closing tag does not match");
      } else {
        if (open.length === 0 && root !== undefined) throw broken("there are two root elements");
        root ??= local(tag.name);
        if (open.length === 2 && local(open[1] ?? "") === "Body") content ??= local(tag.name);
        if (!tag.empty) open.push(tag.name);
        if (open.length > maxDepth) throw broken(`elements nest deeper than ${maxDepth}`);
      }
      at = end + 1;
    }
  }
  if (root === undefined) throw broken("it holds no XML");
  if (open.length > 0) throw broken("it is cut off");
  return { root, content };
}

function readTag(xml: string, start: number, end: number) {
  const closes = xml[start + 1] === "/";
  const empty = xml[end - 1] === "/";
  const inner = xml.slice(start + (closes ? 2 : 1), empty ? end - 1 : end);
  const name = /^[^\s/>"'=<]+/.exec(inner)?.[0];
  if (!name) throw broken("a tag has no name");
  const attributes = inner.slice(name.length);
  // Multi-references and names that JavaScript objects treat specially have no place in vim25.
  if (/\s(id|href)\s*=/.test(attributes) || /__proto__|constructor|prototype/.test(name))
    throw protocolError("the answer holds a reference that vSphere never sends");
  return { name, closes, empty };
}

/** Index of the tag's own `>`; one inside a quoted attribute does not count. */
function endOfTag(xml: string, start: number): number {
  let quote: string | undefined;
  for (let at = start + 1; at < xml.length; at++) {
    const char = xml[at];
    if (quote !== undefined) {
      if (char === quote) quote = undefined;
    } else if (char === '"' || char === "'") quote = char;
    else if (char === ">") return at;
    else if (char === "<") throw broken("a tag is not closed");
  }
  throw broken("it is cut off");
}

function after(xml: string, terminator: string, from: number): number {
  const at = xml.indexOf(terminator, from);
  if (at === -1) throw broken("it is cut off");
  return at + terminator.length;
}

function local(name: string): string {
  return name.slice(name.indexOf(":") + 1);
}

function broken(why: string) {
  return protocolError(`the answer is not valid XML: ${why}`);
}
