/** Bar and line charts as SVG text, readable on light and on dark pages. */

export interface Series {
  name: string;
  colour: string;
  /** One for each group; undefined: no bar. */
  values: (number | undefined)[];
}

export interface BarChart {
  title: string;
  unit: string;
  groups: string[];
  series: Series[];
  /** For ratios that span orders of magnitude. */
  logarithmic?: boolean;
}

export interface LineChart {
  title: string;
  unit: string;
  labels: string[];
  series: Series[];
}

const width = 960;
const labelWidth = 230;
const rightMargin = 90;
const barHeight = 11;
const groupGap = 9;
const headHeight = 58;
const plotWidth = width - labelWidth - rightMargin;

/** Horizontal bars, grouped; each bar carries its value. */
export function barChart(chart: BarChart): string {
  const { groups, series, logarithmic = false } = chart;
  const values = series.flatMap((entry) => entry.values.filter((value) => value !== undefined));
  const largest = Math.max(...values, 1);
  const scale = (value: number) =>
    plotWidth *
    (logarithmic ? Math.log10(Math.max(value, 1)) / Math.log10(largest) : value / largest);
  const groupHeight = series.length * barHeight + groupGap;
  const height = headHeight + groups.length * groupHeight + 8;
  const parts = [head(chart.title, chart.unit, series, height)];
  groups.forEach((group, g) => {
    const top = headHeight + g * groupHeight;
    parts.push(text(labelWidth - 8, top + groupHeight / 2, group, "end"));
    series.forEach(({ values: own, colour }, s) => {
      const value = own[g];
      if (value === undefined) return;
      const y = top + s * barHeight;
      const length = Math.max(scale(value), 1).toFixed(1);
      parts.push(
        `<rect x="${labelWidth}" y="${y}" width="${length}" height="${barHeight - 2}" fill="${colour}"/>`,
        text(labelWidth + Number(length) + 4, y + barHeight - 3, short(value), "start", 9),
      );
    });
  });
  return `${parts.join("\n")}\n</svg>\n`;
}

/** Points with equal distances on the x axis; y begins at 0. */
export function lineChart(chart: LineChart): string {
  const { labels, series } = chart;
  const plotHeight = 220;
  const height = headHeight + plotHeight + 34;
  const bottom = headHeight + plotHeight;
  const largest = Math.max(...series.flatMap(({ values }) => values.map((value) => value ?? 0)), 1);
  const x = (i: number) => 70 + (i * (width - 160)) / Math.max(labels.length - 1, 1);
  const y = (value: number) => bottom - (plotHeight * value) / (largest * 1.1);
  const parts = [head(chart.title, chart.unit, series, height)];
  parts.push(`<path d="M60 ${bottom}H${width - 60}" stroke="#888" fill="none"/>`);
  labels.forEach((label, i) => {
    parts.push(text(x(i), bottom + 20, label, "middle"));
  });
  for (const { values, colour } of series) {
    const points = values.flatMap((value, i) =>
      value === undefined ? [] : [{ value, at: `${x(i).toFixed(1)} ${y(value).toFixed(1)}`, i }],
    );
    parts.push(
      `<path d="M${points.map(({ at }) => at).join("L")}" stroke="${colour}" stroke-width="2" fill="none"/>`,
    );
    for (const { value, i } of points)
      parts.push(
        `<circle cx="${x(i).toFixed(1)}" cy="${y(value).toFixed(1)}" r="3" fill="${colour}"/>`,
        text(x(i), y(value) - 8, short(value), "middle", 10),
      );
  }
  return `${parts.join("\n")}\n</svg>\n`;
}

function head(title: string, unit: string, series: Series[], height: number): string {
  const style =
    "text{font-family:system-ui,sans-serif;fill:#24292f}" +
    "@media(prefers-color-scheme:dark){text{fill:#d0d7de}}";
  const legend = series.map(
    ({ name, colour }, i) =>
      `<rect x="${16 + i * 175}" y="32" width="10" height="10" fill="${colour}"/>${text(31 + i * 175, 41, name, "start")}`,
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img">`,
    `<title>${escapeXml(title)}</title>`,
    `<style>${style}</style>`,
    text(16, 20, `${title} (${unit})`, "start", 14),
    ...legend,
  ].join("\n");
}

function text(x: number, y: number, value: string, anchor: string, size = 11): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" font-size="${size}" text-anchor="${anchor}">${escapeXml(value)}</text>`;
}

function short(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

function escapeXml(value: string): string {
  return value.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
