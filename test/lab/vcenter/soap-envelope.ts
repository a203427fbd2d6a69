/** SOAP 1.1 envelopes as vCenter reads and writes them. */

import {
  fieldsOf,
  isDataType,
  isSubtype,
  methodNamed,
  type SchemaField,
  type SchemaMethod,
} from "./schema.ts";
import { invalidRequest, VimFault } from "./vim-fault.ts";
import { Moref, type VimObject, type VimValue, writeField, writeFields } from "./vim-values.ts";
import { parseXml, type XmlElement, XmlSyntaxError } from "./xml.ts";

export interface SoapCall {
  readonly method: SchemaMethod;
  readonly self: Moref;
  /** The parameters without `_this`. */
  readonly parameters: VimObject;
}

/**
 * Reads a request as strictly as vCenter: unknown methods, missing required parameters, unknown elements and
 * elements out of schema order are refused. Throws `VimFault`.
 */
export function readCall(document: string): SoapCall {
  const envelope = readDocument(document);
  const body = envelope.children.find((child) => child.name === "Body");
  const call = body?.children[0];
  if (envelope.name !== "Envelope" || !call) throw invalidRequest("The request has no SOAP body.");
  const method = methodNamed(call.name);
  if (!method) {
    throw new VimFault("InvalidRequest", `Unable to resolve WSDL method name ${call.name}`);
  }
  const { _this, ...rest } = readFields(call, method.parameters, `method ${method.name}`);
  if (!(_this instanceof Moref)) throw invalidRequest("_this is not a reference");
  return { method, self: _this, parameters: { ...rest, $type: method.name } };
}

/** The answer of a method; `value` undefined means an answer without `returnval`. */
export function writeAnswer(method: SchemaMethod, value: VimValue | undefined): string {
  const out = [`<${method.name}Response xmlns="urn:vim25">`];
  if (value !== undefined) {
    if (!method.returns) throw new Error(`${method.name} returns nothing`);
    writeField(out, method.returns, value);
  }
  out.push(`</${method.name}Response>`);
  return envelopeAround(out.join(""));
}

export function writeFault(fault: VimFault): string {
  const type = fault.fault.$type;
  const out = [
    "<soapenv:Fault><faultcode>ServerFaultCode</faultcode>",
    `<faultstring>${fault.message.replace(/[<&>]/g, "?")}</faultstring>`,
    `<detail><${type}Fault xmlns="urn:vim25" xsi:type="${type}">`,
  ];
  writeFields(out, fault.fault);
  out.push(`</${type}Fault></detail></soapenv:Fault>`);
  return envelopeAround(out.join(""));
}

function envelopeAround(body: string): string {
  return (
    '<?xml version="1.0" encoding="UTF-8"?>\n' +
    '<soapenv:Envelope xmlns:soapenc="http://schemas.xmlsoap.org/soap/encoding/"\n' +
    ' xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"\n' +
    ' xmlns:xsd="http://www.w3.org/2001/XMLSchema"\n' +
    ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">\n' +
    `<soapenv:Body>\n${body}\n</soapenv:Body>\n</soapenv:Envelope>`
  );
}

function readDocument(document: string): XmlElement {
  try {
    return parseXml(document);
  } catch (error) {
    if (error instanceof XmlSyntaxError) throw invalidRequest(error.message);
    throw error;
  }
}

/** Reads the children of `element` against `fields`; both must be in the same order. */
function readFields(
  element: XmlElement,
  fields: readonly SchemaField[],
  owner: string,
): Record<string, VimValue> {
  const values: Record<string, VimValue> = {};
  let at = 0;
  for (const field of fields) {
    const items: VimValue[] = [];
    while (element.children[at]?.name === field.name && (field.array || items.length === 0)) {
      items.push(readValue(element.children[at]!, field));
      at += 1;
    }
    if (items.length > 0) values[field.name] = field.array ? items : items[0]!;
    else if (!field.optional && !field.array) {
      throw invalidRequest(
        `Required property ${field.name} is missing from data object of type ${owner}\n\n` +
          `while parsing serialized DataObject of type ${owner}`,
      );
    }
  }
  const left = element.children[at];
  if (left) {
    throw invalidRequest(`Unexpected element tag "${left.name}" seen\n\nwhile parsing ${owner}`);
  }
  return values;
}

function readValue(element: XmlElement, field: SchemaField): VimValue {
  const { type } = field;
  const text = element.text.trim();
  if (type === "moref") {
    const referenced = element.attributes.get("type");
    if (!referenced || text === "") {
      throw invalidRequest(`Reference ${field.name} needs a type attribute and a value`);
    }
    return new Moref(referenced, text);
  }
  if (isDataType(type)) {
    const actual = localPart(element.attributes.get(":type")) ?? type;
    if (!isDataType(actual) || !isSubtype(actual, type)) {
      throw new VimFault("InvalidType", `${actual} is not a ${type}`, { argument: field.name });
    }
    return { ...readFields(element, fieldsOf(actual), actual), $type: actual };
  }
  if (type === "boolean") {
    if (!/^(true|false|1|0)$/.test(text))
      throw invalidRequest(`${field.name}: no boolean: ${text}`);
    return text === "true" || text === "1";
  }
  if (type === "int" || type === "long" || type === "short" || type === "byte") {
    const value = Number(text);
    if (!/^[+-]?\d+$/.test(text) || !Number.isSafeInteger(value)) {
      throw invalidRequest(`${field.name}: not an ${type}: ${text}`);
    }
    return value;
  }
  return element.text;
}

function localPart(qualified: string | undefined): string | undefined {
  return qualified?.slice(qualified.indexOf(":") + 1);
}
