/** What the page of a fleet has besides the style of all pages. */
export const fleetStyle = `
main { max-width: 76rem; }
.under-way { color: #1d4f91; background: #e5effb; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .75rem; margin: 0; }
.tiles div { display: block; padding: .8rem 1rem; border: 1px solid var(--line); border-radius: .5rem; }
.tiles dt { font-size: .85rem; }
.tiles dd { font-size: 1.45rem; font-weight: 600; line-height: 1.3; }
.tiles .more { display: block; font-size: .82rem; font-weight: 400; color: var(--soft); }
.tiles div:first-child { border-top: 1px solid var(--line); }
h2 .of { font-weight: 400; color: var(--soft); font-size: .95rem; }
.share { display: block; width: 100%; min-width: 5rem; height: .55rem; margin: .5rem 0; border-radius: .3rem; }
.waves td:nth-child(2) { width: 40%; padding-right: 1.5rem; }
.share .rest { fill: #e4e9f0; }
.share .cut-over { fill: #1f8a56; }
.share .in-sync { fill: #7fb4e6; }
.share .failed { fill: #c43c3c; }
.key { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin: .75rem 0 0; font-size: .88rem; color: var(--soft); }
.key span::before { content: ""; display: inline-block; width: .7rem; height: .7rem; margin-right: .4rem;
  border-radius: .15rem; background: #e4e9f0; }
.key .cut-over::before { background: #1f8a56; }
.key .in-sync::before { background: #7fb4e6; }
.key .failed::before { background: #c43c3c; }
.plot { display: block; width: 9.4rem; max-width: 100%; height: 2.1rem; }
.plot .ground { stroke: var(--line); stroke-width: 1; }
.plot polygon { fill: #dbe8f7; }
.plot polyline { fill: none; stroke: #2f6fb5; stroke-width: 1.4; stroke-linejoin: round; }
.plot circle { fill: #2f6fb5; }
.small { display: block; font-size: .82rem; font-weight: 400; color: var(--soft); }
.badge { display: inline-block; padding: .05rem .55rem; border-radius: .8rem; font-size: .82rem; font-weight: 600;
  white-space: nowrap; color: #3d4958; background: #e9edf3; }
.badge.good { color: var(--good); background: var(--good-back); }
.badge.bad { color: var(--bad); background: var(--bad-back); }
.waves td:first-child, .vms td:first-child, .evidence td:first-child { white-space: normal; }
td.whole, td.whole:first-child { white-space: nowrap; }
.vms td { font-size: .95rem; }
.evidence td { font-size: .88rem; }
.evidence .digest { font-size: .78rem; }
a { color: #1d4f91; }
@media (max-width: 40rem) {
  /* Where each cell has a line of its own, one without a content is none. */
  td.none { display: none; }
  .waves td:nth-child(2) { width: auto; padding-right: 0; }
  .tiles { grid-template-columns: 1fr 1fr; }
  .tiles div { padding: .6rem .75rem; }
  .tiles dd { font-size: 1.2rem; }
  td > div { min-width: 0; }
  td.whole, td.whole:first-child { white-space: normal; }
}
@media print {
  /* A wave may be longer than a page: its rows stay whole, and its headings are repeated. */
  section.long { break-inside: auto; }
  section h2 { break-after: avoid; }
  tr, .tiles div { break-inside: avoid; }
  .tiles { grid-template-columns: repeat(3, 1fr); }
  .tiles div { padding: .4rem .6rem; }
  .tiles dd { font-size: 1.15rem; }
  .vms td, .vms th, .waves td, .waves th { font-size: .82rem; padding-right: .5rem; }
  .evidence td, .evidence th { font-size: .75rem; }
  .evidence .digest { font-size: .66rem; }
  .vms th:first-child { width: 20%; }
  .plot { width: 6.5rem; height: 1.6rem; }
  .share .cut-over, .share .in-sync, .share .failed, .share .rest, .plot polygon, .key span::before, .badge {
    print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  .download { display: none; }
}
`;
