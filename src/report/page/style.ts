/** Fonts are those of the reader's machine; ink is saved on paper. */
export const style = `
:root { --ink: #1c2430; --soft: #5b6675; --line: #d9dfe7; --paper: #fff; --back: #f3f5f8;
  --good: #146c43; --good-back: #e3f4ea; --bad: #9b1c1c; --bad-back: #fdeaea; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1.25rem 3rem; }
h1, h2, p, dd, dt, li, td, pre { overflow-wrap: anywhere; }
h1 { margin: .75rem 0 .25rem; font-size: 1.9rem; line-height: 1.2; }
h2 { margin: 0 0 .75rem; font-size: 1.1rem; }
.state { display: inline-block; margin: 0; padding: .15rem .7rem; border-radius: 1rem;
  font-size: .85rem; font-weight: 600; }
.done { color: var(--good); background: var(--good-back); }
.not-done { color: var(--bad); background: var(--bad-back); }
.verdict { margin: 0 0 1.5rem; font-size: 1.1rem; color: var(--soft); }
section { margin: 0 0 1rem; padding: 1.25rem; background: var(--paper);
  border: 1px solid var(--line); border-radius: .5rem; }
dl { margin: 0; }
dl div { display: grid; grid-template-columns: 11rem 1fr; gap: 1rem; padding: .35rem 0;
  border-top: 1px solid var(--line); }
dl div:first-child { border-top: 0; }
dt { color: var(--soft); }
dd { margin: 0; }
table { width: 100%; border-collapse: collapse; }
th, td { padding: .45rem .75rem .45rem 0; text-align: left; vertical-align: top; }
th { color: var(--soft); font-weight: 500; font-size: .9rem; border-bottom: 1px solid var(--line); }
tbody tr + tr td { border-top: 1px solid var(--line); }
td:first-child { font-weight: 600; white-space: nowrap; }
.amount { white-space: nowrap; }
.digest, pre { font: .85rem/1.5 ui-monospace, "DejaVu Sans Mono", "Liberation Mono", monospace; }
pre { margin: .5rem 0 0; padding: .6rem .8rem; background: var(--back); border-radius: .35rem;
  white-space: pre-wrap; }
ol { margin: 0; padding-left: 1.4rem; }
li + li { margin-top: .6rem; }
.note { margin: .75rem 0 0; color: var(--soft); font-size: .92rem; }
section > .note:nth-child(2) { margin-top: 0; }
@media (max-width: 40rem) {
  main { padding: 1.25rem .75rem 2rem; }
  h1 { font-size: 1.5rem; }
  section { padding: 1rem; }
  dl div { grid-template-columns: 1fr; gap: 0; }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  table, tbody, tr, td { display: block; }
  tr + tr { margin-top: .75rem; padding-top: .75rem; border-top: 1px solid var(--line); }
  tbody tr + tr td { border-top: 0; }
  td { display: grid; grid-template-columns: 7rem 1fr; gap: .75rem; padding: .15rem 0; }
  td:first-child { white-space: normal; }
  td::before { content: attr(data-heading); color: var(--soft); font: 400 .9rem/1.65 system-ui, sans-serif; }
}
@media print {
  @page { margin: 16mm; }
  body { background: none; font-size: 10.5pt; }
  main { max-width: none; padding: 0; }
  section { border: 0; border-top: 1px solid var(--line); border-radius: 0; padding: .8rem 0; margin: 0;
    break-inside: avoid; }
  .done, .not-done { background: none; padding: 0; }
  pre { border: 1px solid var(--line); background: none; }
  dl div { grid-template-columns: 9rem 1fr; }
}
`;
