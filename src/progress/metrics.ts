/** Metrics in Prometheus' text format 0.0.4: pure, from numbers to text. */

export type Labels = Readonly<Record<string, string>>;

export interface Metric {
  readonly name: string;
  readonly help: string;
  readonly type: "gauge" | "counter";
  readonly samples: readonly { readonly labels: Labels; readonly value: number }[];
}

/** Metrics without samples are left out: a HELP line alone says nothing. */
export function metricsText(metrics: readonly Metric[]): string {
  return metrics
    .filter(({ samples }) => samples.length > 0)
    .map(({ name, help, type, samples }) => {
      const lines = samples.map(({ labels, value }) => `${name}${labelsText(labels)} ${value}\n`);
      return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join("")}`;
    })
    .join("");
}

function labelsText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(value)}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function escapeLabel(value: string): string {
  return value.replace(/[\\"]/g, "\\$&").replaceAll("\n", "\\n");
}

/** The samples of one metric in a text of ours; anything else in it is passed over. */
export function samplesOf(text: string, name: string): Metric["samples"] {
  return text.split("\n").flatMap((line) => {
    const match = /^([a-z_]+)\{(.*)\} (-?[0-9.e+-]+)$/.exec(line);
    if (match?.[1] !== name || !Number.isFinite(Number(match[3]))) return [];
    const pairs = (match[2] ?? "").matchAll(/([a-z_]+)="((?:[^"\\]|\\.)*)"/g);
    const labels = Object.fromEntries(
      [...pairs].map(([, label, value]) => [label, unescapeLabel(value ?? "")]),
    );
    return [{ labels, value: Number(match[3]) }];
  });
}

function unescapeLabel(text: string): string {
  return text.replace(/\\(.)/g, (_, character: string) => (character === "n" ? "\n" : character));
}
