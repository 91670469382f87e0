"""The report's style sheet: one page, light and dark, no fonts or files from outside."""

CSS = """
:root {
  --paper: #fbfaf8; --card: #ffffff; --ink: #1b1a22; --soft: #6a6878; --faint: #e7e4ee;
  --on: #5b45e0; --off: #d9780f; --teacher: #8a8798; --attention: #0e8f86; --ffn: #5b45e0;
  --fused: #b1339b; --good: #14804a; --bad: #c22f3d; --muted: #c9c6d3; --track: #efedf4;
  --shadow: 0 1px 2px rgb(30 20 60 / 5%), 0 8px 28px rgb(30 20 60 / 6%);
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #131219; --card: #1c1b25; --ink: #eceaf4; --soft: #9d9aae; --faint: #2e2c3b;
    --on: #9a8bff; --off: #f2a44b; --teacher: #8a8798; --attention: #3cc5b8; --ffn: #9a8bff;
    --fused: #e27fd0; --good: #54c98b; --bad: #ff7b86; --muted: #4a4759; --track: #2a2836;
    --shadow: none;
  }
}
* { box-sizing: border-box; }
html { color-scheme: light dark; -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink); line-height: 1.55; font-size: 15px;
  font-family: Inter, "Segoe UI", system-ui, -apple-system, "Helvetica Neue", "Noto Sans",
    sans-serif;
  font-feature-settings: "tnum", "cv11"; font-variant-numeric: tabular-nums;
}
main { max-width: 1120px; margin: 0 auto; padding: 56px 28px 96px; }
header { margin-bottom: 40px; }
.mark { color: var(--on); font-weight: 650; letter-spacing: .09em; text-transform: uppercase;
  font-size: 12px; }
h1 { font-size: 40px; line-height: 1.12; letter-spacing: -.025em; margin: 8px 0 12px;
  font-weight: 680; }
h2 { font-size: 24px; letter-spacing: -.015em; margin: 72px 0 6px; font-weight: 650; }
h3 { font-size: 15px; margin: 0 0 10px; font-weight: 620; }
p { margin: 0 0 14px; max-width: 68ch; }
p.lead { font-size: 17px; color: var(--soft); max-width: 62ch; }
.soft { color: var(--soft); } small { color: var(--soft); font-size: 12.5px; }
nav { display: flex; flex-wrap: wrap; gap: 6px 18px; margin-top: 22px; font-size: 13.5px; }
nav a { color: var(--soft); text-decoration: none; border-bottom: 1px solid var(--faint);
  padding-bottom: 1px; }
nav a:hover { color: var(--on); border-color: var(--on); }
.cards { display: flex; flex-wrap: wrap; gap: 18px; margin: 22px 0; }
.cards > * { flex: 1 1 290px; max-width: 520px; }
.cards svg.chart { max-width: 440px; }
.card { background: var(--card); border: 1px solid var(--faint); border-radius: 16px;
  padding: 22px; box-shadow: var(--shadow); min-width: 0; }
.card.flat { padding: 20px 22px 14px; }
.name { display: flex; justify-content: space-between; align-items: baseline; gap: 8px; }
.name b { font-size: 21px; letter-spacing: -.01em; text-transform: capitalize; }
.big { font-size: 38px; font-weight: 670; letter-spacing: -.03em; line-height: 1.1;
  margin: 16px 0 2px; }
.big small { font-size: 15px; font-weight: 500; letter-spacing: 0; }
dl { display: grid; grid-template-columns: minmax(0, auto) minmax(50%, 1fr); gap: 5px 16px;
  margin: 16px 0 0; font-size: 13.5px; }
dt { color: var(--soft); } dd { margin: 0; text-align: right; }
.scroll { overflow-x: auto; margin: 18px 0; } .card .scroll { margin: 8px 0 0; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; }
th { text-align: left; color: var(--soft); font-weight: 550; font-size: 12px;
  padding: 6px 14px 8px 0; border-bottom: 1px solid var(--faint); vertical-align: bottom; }
td { padding: 8px 14px 8px 0; border-bottom: 1px solid var(--faint); white-space: nowrap;
  vertical-align: middle; }
tr:last-child td { border-bottom: 0; } td.n, th.n { text-align: right; }
td.stage {
  font-weight: 600; min-width: 118px;
} td .range { color: var(--soft); font-size: 12px; margin-left: 6px; }
h4 { font-size: 13.5px; margin: 22px 0 8px; font-weight: 600; }
.answers { display: grid; gap: 14px 22px;
  grid-template-columns: repeat(auto-fit, minmax(180px, 1fr)); }
.answers > * { min-width: 0; border-left: 2px solid var(--faint); padding-left: 12px;
  font-size: 13px; } .answers b { color: var(--soft); font-weight: 550; font-size: 12px; }
.answers .said { white-space: pre-wrap; overflow-wrap: anywhere; }
p.said { font-size: 13.5px; margin: 12px 0 0; max-width: none; }
.up { color: var(--good); } .down { color: var(--bad); } .level { color: var(--soft); }
.flag { display: inline-block; border-radius: 99px; padding: 1px 9px; font-size: 11.5px;
  font-weight: 600; border: 1px solid; }
.flag.worse { color: var(--bad); } .flag.lower { color: var(--off); border-style: dashed; }
.key { display: inline-flex; align-items: center; gap: 6px; margin-right: 16px;
  font-size: 12.5px; color: var(--soft); }
.key i { width: 11px; height: 11px; border-radius: 3px; display: inline-block; }
.key i.ring { background: none !important; border: 1.5px dashed var(--soft); }
details { margin-top: 10px; } summary { cursor: pointer; color: var(--soft); font-size: 13px; }
code { font: 12.5px ui-monospace, "SF Mono", "Cascadia Mono", Menlo, monospace;
  background: var(--track); padding: 2px 6px; border-radius: 6px; }
pre { background: var(--card); border: 1px solid var(--faint); border-radius: 12px;
  padding: 16px 18px; overflow-x: auto; }
pre code { background: none; padding: 0; }
section > .card { margin-top: 18px; }
.gap { margin-top: 14px; }
.picture { background: #fff; border-radius: 10px; padding: 8px; margin: 14px 0; overflow-x: auto;
  border: 1px solid var(--faint); }
.pictures { display: flex; flex-wrap: wrap; gap: 0 14px; align-items: center; }
.pictures > * { flex: 1 1 420px; min-width: 0; }
.picture img { display: block; margin: 0 auto; max-width: 100%; height: auto; }
dl.meanings { grid-template-columns: max-content 1fr; gap: 3px 16px; font-size: 12.5px; }
dl.meanings dd { text-align: left; color: var(--soft); } dl.meanings dt { color: var(--ink); }
dl.numbers { grid-template-columns: repeat(2, auto 1fr); gap: 5px 28px; max-width: 760px; }
footer { margin-top: 72px; padding-top: 20px; border-top: 1px solid var(--faint);
  color: var(--soft); font-size: 13px; }
svg { display: block; max-width: none; } svg text { fill: var(--ink); font-size: 11.5px; }
svg.chart { width: 100%; height: auto; }
svg.wide { max-width: 720px; } svg.bar { display: inline-block; vertical-align: -3px; }
svg .tick, svg .axis { fill: var(--soft); font-size: 10.5px; } svg .label { font-size: 13px; }
svg .named { font-size: 13px; font-weight: 600; }
svg .number { fill: var(--soft); font-size: 11.5px; }
.grid { stroke: var(--faint); }
.band { opacity: .13; }
.line { fill: none; stroke-width: 2.2; stroke-linejoin: round; stroke-linecap: round; }
.line.dashed { stroke-dasharray: 2 5; stroke-width: 1.8; }
.line.on { stroke: var(--on); }
.line.off { stroke: var(--off); }
.line.before { stroke: var(--teacher); }
.line.best { stroke: var(--muted); stroke-width: 1.4; }
.band.on, .dot.on, .fill.on { fill: var(--on); }
.band.off, .dot.off, .fill.off { fill: var(--off); }
.dot.before { fill: var(--teacher); } .dot.attention { fill: var(--attention); }
.dot.fused { fill: var(--fused); } .dot.good { fill: var(--good); } .dot.bad { fill: var(--bad); }
.fill.muted { fill: var(--muted); }
.fill.bad { fill: var(--bad); opacity: .75; }
.fill.good { fill: var(--good); opacity: .85; }
.track { fill: var(--track); } .interval { stroke: var(--ink); stroke-width: 1.2; opacity: .75; }
.cell { fill: var(--track); }
.cell.noop { fill: none; stroke: var(--muted); stroke-dasharray: 3 3; }
.kept.attention { fill: var(--attention); }
.kept.ffn { fill: var(--ffn); }
.kept.fused { fill: var(--fused); }
svg .inside { fill: #fff; font-size: 9.5px; font-weight: 600; }
.edge { fill: none; stroke: var(--muted); stroke-width: 1.2; }
.node rect { fill: var(--card); stroke: var(--muted); stroke-width: 1.2; }
.node text { font-size: 11.5px; font-weight: 560; }
.node text.version { font: 9.5px ui-monospace, Menlo, monospace; fill: var(--soft); }
.node.parents rect, .node.problems rect { stroke: var(--attention); }
.node.rl rect, .node.rl_data rect { stroke: var(--fused); }
.node.sft rect, .node.sft_data rect { stroke: var(--off); }
.node.puzzle rect, .node.recovery rect { stroke: var(--on); }
.node.final rect { fill: var(--on); stroke: var(--on); }
.node.final text, .node.final text.version { fill: var(--paper); }
@media (max-width: 640px) { main { padding: 32px 16px 64px; }
h1 { font-size: 31px; }
h2 { margin-top: 52px; }
dl.meanings { grid-template-columns: max-content 1fr; gap: 3px 16px; font-size: 12.5px; }
dl.meanings dd { text-align: left; color: var(--soft); } dl.meanings dt { color: var(--ink); }
dl.numbers, dl.meanings { grid-template-columns: auto 1fr; }
}
@media print { .card { box-shadow: none; break-inside: avoid; } nav { display: none; } }
"""
