/** Variables that are no setting of ours, and what they do here. */
export const otherVariables: readonly { readonly variable: string; readonly describe: string }[] = [
  { variable: "NO_COLOR", describe: "set: no colours" },
  { variable: "TERM", describe: "dumb: lines instead of live progress, no colours" },
  { variable: "LC_ALL, LC_CTYPE, LANG", describe: "a locale without UTF-8: bars of ASCII" },
];
