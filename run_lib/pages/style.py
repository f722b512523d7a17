"""How pages look, and the few lines of script that they have."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --ground: #ffffff; --ink: #1b1f24; --quiet: #59626d; --line: #d9dee4;
  --raised: #f5f7f9; --accent: #0b5cad; --bar: #0b5cad; --floor: #a04a00; --paper: #ffffff; }
@media (prefers-color-scheme: dark) { :root { --ground: #14171a; --ink: #e7eaee; --quiet: #a3acb7; --line: #343a41;
  --raised: #1d2126; --accent: #7db8f0; --bar: #7db8f0; --floor: #f0a868; --paper: #f4f5f6; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; scroll-behavior: smooth; }
body { margin: 0 auto; padding: 2rem 1.25rem 3rem; max-width: 62rem; background: var(--ground); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  overflow-wrap: anywhere; }
h1, h2, h3 { line-height: 1.2; font-weight: 600; letter-spacing: -0.01em; }
h1 { margin: 0 0 .4rem; font-size: clamp(1.5rem, 4vw, 2.1rem); }
h2 { margin: 3rem 0 .9rem; padding-top: .9rem; border-top: 1px solid var(--line); font-size: 1.3rem; }
h3 { margin: 1.8rem 0 .6rem; font-size: 1.05rem; }
p { margin: .5rem 0; max-width: 46rem; }
a { color: var(--accent); text-underline-offset: .15em; }
.eyebrow, figcaption, .quiet, footer { color: var(--quiet); font-size: .875rem; }
.eyebrow { margin: 0 0 .3rem; }
nav ul { display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; margin: 1rem 0 0; padding: 0; list-style: none;
  font-size: .9rem; }
code, pre, .number { font-variant-numeric: tabular-nums; }
code, pre { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: .85em; }
pre { margin: .8rem 0; padding: .8rem 1rem; background: var(--raised); border-radius: .4rem; white-space: pre-wrap; }
figure { margin: 1rem 0; }
figcaption { margin-top: .4rem; }
img { display: block; max-width: 100%; height: auto; background: var(--paper); border-radius: .25rem;
  border: 1px solid var(--line); }
.scroll { overflow-x: auto; margin: .9rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { padding: .42rem .9rem .42rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top;
  overflow-wrap: normal; }
thead th { color: var(--quiet); font-weight: 500; font-size: .8rem; white-space: nowrap; }
tbody th { font-weight: 500; min-width: 9.5rem; }
td.number, th.number { text-align: right; white-space: nowrap; }
tr.reference th, tr.reference td { color: var(--quiet); }
tr.reference th { padding-left: 1.1rem; font-weight: 400; }
tr.best th, tr.best td, td.best { font-weight: 650; }
.numbers th { width: 45%; } .note { max-width: 30rem; color: var(--quiet); font-weight: 400; font-size: .8rem;
  line-height: 1.4; padding-left: 1.05rem; }
.settings { columns: 19rem; column-gap: 2rem; padding: 0; list-style: none; font-size: .8rem; }
.settings li { break-inside: avoid; line-height: 1.35; padding: .12rem 0 .12rem 1rem; text-indent: -1rem; }
svg.bar { display: block; width: 9rem; height: 1.3rem; overflow: visible; }
svg.bar line { stroke: var(--bar); stroke-width: 2; } svg.bar circle { fill: var(--bar); }
svg.bar .floor { stroke: var(--floor); stroke-dasharray: 2 2; stroke-width: 1.5; }
.reference svg.bar circle { fill: var(--floor); } .reference svg.bar line:not(.floor) { stroke: var(--floor); }
details { margin: .3rem 0; }
summary { cursor: pointer; }
th details { margin: 0; } th details dl { min-width: 14rem; max-width: 30rem; padding-left: 1.05rem; }
summary:focus-visible, a:focus-visible, input:focus-visible, .scroll:focus-visible { outline: 2px solid var(--accent);
  outline-offset: 2px; }
dl { display: grid; grid-template-columns: minmax(6rem, max-content) 1fr; gap: .2rem 1rem; margin: .6rem 0;
  font-size: .875rem; font-weight: 400; }
dt { color: var(--quiet); } dd { margin: 0; min-width: 0; }
.side { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 17rem), 1fr)); gap: 0 1.5rem; }
.classes { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 18rem), 1fr)); gap: .2rem 1.2rem; }
.classes figure { margin: .4rem 0; }
.control { display: none; align-items: center; gap: .8rem; max-width: 32rem; }
.control input { flex: 1; min-width: 0; accent-color: var(--accent); height: 2rem; }
.control output { min-width: 5rem; font-variant-numeric: tabular-nums; font-size: .9rem; }
.frames { display: grid; grid-template-columns: repeat(auto-fill, minmax(8rem, 1fr)); gap: .6rem; }
.frames figure { margin: 0; }
.live .control { display: flex; }
.warning { padding: .6rem .9rem; border-left: 3px solid var(--floor); background: var(--raised); }
footer { margin-top: 3rem; padding-top: .9rem; border-top: 1px solid var(--line); }
@media screen {
  .live .frames { display: block; max-width: 32rem; } .live .frames figure:not(.shown) { display: none; }
  .live .frames figcaption { display: none; }
}
@media print {
  :root { color-scheme: light; --ground: #fff; --ink: #000; --quiet: #444; --line: #bbb; --raised: #f4f4f4;
    --accent: #000; --bar: #0b5cad; --floor: #a04a00; --paper: #fff; }
  @page { margin: 14mm; }
  body { padding: 0; max-width: none; font-size: 9.5pt; }
  nav, .live .control { display: none; }
  h2, h3, summary { break-after: avoid; } figure, tr, dl { break-inside: avoid; }
  h2 { margin-top: 1.6rem; }
  img { max-height: 110mm; width: auto; }
  .frames { grid-template-columns: repeat(6, 1fr); } .frames img { width: 100%; }
  .scroll { overflow: visible; }
  .numbers dl { display: block; min-width: 0; max-width: none; font-size: 7.5pt; line-height: 1.35; }
  .numbers dt, .numbers dd { display: inline; } .numbers dt::after { content: "\\a0"; }
  .numbers dd::after { content: "; "; } .numbers dd:last-child::after { content: "."; }
  .settings { columns: 2; font-size: 7pt; }
}
"""

SCRIPT = """
for (const part of document.querySelectorAll("[data-frames]")) {
  const frames = part.querySelectorAll(".frames figure"), at = part.querySelector("input");
  const said = part.querySelector("output");
  const show = () => {
    frames.forEach((frame, k) => frame.classList.toggle("shown", k === Number(at.value)));
    said.textContent = `${Number(at.value) + 1} of ${frames.length}`;
  };
  part.classList.add("live");
  at.addEventListener("input", show);
  show();
}
let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  for (const one of opened) one.open = true;
});
addEventListener("afterprint", () => { for (const one of opened) one.open = false; });
"""
