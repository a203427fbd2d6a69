/**
 * A small strict XML reader and the escapes for writing. Namespaces are kept as prefixes only: vim25
 * uses one namespace for everything.
 */

export interface XmlElement {
  /** Local name, without the prefix. */
  readonly name: string;
  /** Attributes; a prefixed one (`xsi:type`) is under `:type`. `xmlns` declarations are left out. */
  readonly attributes: ReadonlyMap<string, string>;
  readonly children: readonly XmlElement[];
  /** Character data directly inside this element. */
  readonly text: string;
}

export class XmlSyntaxError extends Error {
  constructor(reason: string, offset: number) {
    super(`XML document is malformed at character ${offset}: ${reason}`);
    this.name = "XmlSyntaxError";
  }
}

interface OpenElement {
  readonly qualifiedName: string;
  readonly name: string;
  readonly attributes: Map<string, string>;
  readonly children: XmlElement[];
  text: string;
}

const depthMax = 200;
const nameOrMarkup = /[^\s<>/=&"']+/y;
const attributePattern = /\s+([^\s<>/=&"']+)\s*=\s*(?:"([^"<]*)"|'([^'<]*)')/y;

/** Reads one document. Throws `XmlSyntaxError` on anything but well-formed XML without a DTD. */
export function parseXml(document: string): XmlElement {
  const open: OpenElement[] = [];
  let root: XmlElement | undefined;
  let at = document.charCodeAt(0) === 0xfeff ? 1 : 0;
  while (at < document.length) {
    const tagStart = document.indexOf("<", at);
    addText(open, document.slice(at, tagStart === -1 ? document.length : tagStart), at);
    if (tagStart === -1) break;
    if (document.startsWith("<?", tagStart)) at = after(document, "?>", tagStart);
    else if (document.startsWith("<!--", tagStart)) at = after(document, "-->", tagStart + 4);
    else if (document.startsWith("<![CDATA[", tagStart)) {
      const end = after(document, "]]>", tagStart);
      const top = open.at(-1);
      if (!top) throw new XmlSyntaxError("CDATA outside the root element", tagStart);
      top.text += document.slice(tagStart + 9, end - 3);
      at = end;
    } else if (document.startsWith("<!", tagStart)) {
      throw new XmlSyntaxError("a document type is not accepted", tagStart);
    } else if (document.startsWith("</", tagStart)) {
      const end = after(document, ">", tagStart);
      const element = open.pop();
      const name = document.slice(tagStart + 2, end - 1).trim();
      if (element?.qualifiedName !== name) {
        throw new XmlSyntaxError(`</${name}> does not close the open element`, tagStart);
      }
      root = close(element, open, root);
      at = end;
    } else {
      if (open.length >= depthMax) throw new XmlSyntaxError("nested too deeply", tagStart);
      if (root && open.length === 0) throw new XmlSyntaxError("a second root element", tagStart);
      const tag = readStartTag(document, tagStart);
      if (tag.selfClosing) root = close(tag.element, open, root);
      else open.push(tag.element);
      at = tag.end;
    }
  }
  if (open.length > 0) {
    throw new XmlSyntaxError(`<${open.at(-1)!.qualifiedName}> is never closed`, document.length);
  }
  if (!root) throw new XmlSyntaxError("no root element", document.length);
  return root;
}

function readStartTag(document: string, tagStart: number) {
  nameOrMarkup.lastIndex = tagStart + 1;
  const nameMatch = nameOrMarkup.exec(document);
  if (!nameMatch) throw new XmlSyntaxError("a tag without a name", tagStart);
  const qualifiedName = nameMatch[0];
  const attributes = new Map<string, string>();
  let at = nameOrMarkup.lastIndex;
  for (;;) {
    attributePattern.lastIndex = at;
    const match = attributePattern.exec(document);
    if (!match) break;
    const attributeName = match[1]!;
    at = attributePattern.lastIndex;
    if (attributeName === "xmlns" || attributeName.startsWith("xmlns:")) continue;
    attributes.set(
      attributeName.replace(/^.*:/, ":"),
      decodeEntities(match[2] ?? match[3] ?? "", at),
    );
  }
  while (/\s/.test(document[at] ?? "")) at += 1;
  const selfClosing = document[at] === "/";
  if (selfClosing) at += 1;
  if (document[at] !== ">") throw new XmlSyntaxError(`bad tag <${qualifiedName}>`, tagStart);
  const element: OpenElement = {
    qualifiedName,
    name: localName(qualifiedName),
    attributes,
    children: [],
    text: "",
  };
  return { element, selfClosing, end: at + 1 };
}

function close(element: OpenElement, open: OpenElement[], root: XmlElement | undefined) {
  const { name, attributes, children, text } = element;
  const closed: XmlElement = { name, attributes, children, text };
  const parent = open.at(-1);
  if (!parent) return closed;
  parent.children.push(closed);
  return root;
}

function addText(open: OpenElement[], raw: string, at: number) {
  if (raw === "") return;
  const top = open.at(-1);
  if (top) top.text += decodeEntities(raw, at);
  else if (raw.trim() !== "") throw new XmlSyntaxError("text outside the root element", at);
}

function after(document: string, mark: string, from: number): number {
  const found = document.indexOf(mark, from);
  if (found === -1) throw new XmlSyntaxError(`"${mark}" is missing`, from);
  return found + mark.length;
}

function localName(qualifiedName: string): string {
  return qualifiedName.slice(qualifiedName.indexOf(":") + 1);
}

const namedEntities: Readonly<Record<string, string>> = {
  lt: "<",
  gt: ">",
  amp: "&",
  quot: '"',
  apos: "'",
};

function decodeEntities(raw: string, at: number): string {
  if (!raw.includes("&")) return raw;
  return raw.replace(/&([^;]{0,12});?/g, (whole, body: string) => {
    if (!whole.endsWith(";")) throw new XmlSyntaxError("a bare ampersand", at);
    const named = namedEntities[body];
    if (named !== undefined) return named;
    const numeric = /^#(?:x([0-9a-fA-F]+)|([0-9]+))$/.exec(body);
    if (!numeric) throw new XmlSyntaxError(`unknown entity &${body};`, at);
    return String.fromCodePoint(
      numeric[1] ? Number.parseInt(numeric[1], 16) : Number.parseInt(numeric[2]!, 10),
    );
  });
}

const escapes: Readonly<Record<string, string>> = {
  "<": "&lt;",
  ">": "&gt;",
  "&": "&amp;",
  '"': "&quot;",
};

export function escapeXml(text: string): string {
  return text.replace(/[<>&"]/g, (character) => escapes[character]!);
}
