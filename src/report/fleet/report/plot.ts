/** Amounts over time as a small picture that is part of a page. Pure. */
import { formatBytes } from "../../../text.ts";
import { htmlText } from "../../page/page.ts";

export interface PlotPoint {
  readonly atMs: number;
  readonly bytes: number;
}

const [width, height, margin] = [150, 34, 4];
/** Beyond it points would touch one another. */
const dotsMax = 24;

/** An area under a line, from the first point to the last, the largest amount at the top; "" for less than two points. */
export function bytesPlot(points: readonly PlotPoint[], what: string): string {
  if (points.length < 2) return "";
  const [first, last] = [points[0]!, points.at(-1)!];
  const spanMs = Math.max(1, last.atMs - first.atMs);
  const most = Math.max(1, ...points.map(({ bytes }) => bytes));
  const place = ({ atMs, bytes }: PlotPoint) => ({
    x: round(margin + ((atMs - first.atMs) / spanMs) * (width - 2 * margin)),
    y: round(height - margin - (bytes / most) * (height - 2 * margin)),
  });
  const places = points.map(place);
  const line = places.map(({ x, y }) => `${x},${y}`).join(" ");
  const ground = height - margin;
  const dots = places.length > dotsMax ? places.slice(-1) : places;
  const said = `${what}: ${points.length}, the largest ${formatBytes(most)}, the last ${formatBytes(last.bytes)}`;
  return [
    `<svg class="plot" viewBox="0 0 ${width} ${height}" role="img" aria-label="${htmlText(said)}">`,
    `<title>${htmlText(said)}</title>`,
    `<line class="ground" x1="0" y1="${ground}" x2="${width}" y2="${ground}"/>`,
    `<polygon points="${places[0]!.x},${ground} ${line} ${places.at(-1)!.x},${ground}"/>`,
    `<polyline points="${line}"/>`,
    ...dots.map(
      ({ x, y }, at) => `<circle cx="${x}" cy="${y}" r="${at === dots.length - 1 ? 2.6 : 1.6}"/>`,
    ),
    "</svg>",
  ].join("");
}

/** Parts of a whole as one bar: `parts` are its classes and shares, 0 to 1. */
export function shareBar(
  parts: readonly { readonly kind: string; readonly share: number }[],
  said: string,
): string {
  let x = 0;
  const pieces = parts.map(({ kind, share }) => {
    const piece = `<rect class="${kind}" x="${round(x)}" y="0" width="${round(share * 100)}" height="8"/>`;
    x += share * 100;
    return piece;
  });
  return [
    `<svg class="share" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label="${htmlText(said)}">`,
    `<title>${htmlText(said)}</title>`,
    `<rect class="rest" x="0" y="0" width="100" height="8"/>`,
    ...pieces,
    "</svg>",
  ].join("");
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
