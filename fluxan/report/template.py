"""HTML and CSS of the pages: without scripts or network access, and printable."""

from __future__ import annotations

from string import Template

STYLE = """
:root { color-scheme: light; --ink: #1a1a1a; --quiet: #555; --rule: #d5d5d5; --good: #00664b; --bad: #a33b00; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 52rem; padding: 2rem 1.5rem 4rem; color: var(--ink); background: #fff;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.1rem; font-weight: 600; margin: 0 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin: 0 0 .4rem; }
header { border-bottom: 1px solid var(--rule); padding-bottom: 1.2rem; margin-bottom: 1.5rem; }
.headline { font-size: 2.4rem; line-height: 1.2; font-weight: 650; margin: 0; font-variant-numeric: tabular-nums; }
.state, .carriers { margin: .3rem 0 0; color: var(--quiet); }
.conclusion { margin: .8rem 0 0; font-weight: 600; }
.good, .good .mark { color: var(--good); } .bad, .bad .mark { color: var(--bad); }
ul.verdicts { list-style: none; padding: 0; margin: 0 0 2rem; }
ul.verdicts li { padding: .35rem 0 .35rem 1.7rem; text-indent: -1.7rem; color: var(--ink); }
ul.verdicts li.bad { font-weight: 600; }
.mark { display: inline-block; width: 1.7rem; text-indent: 0; font-weight: 700; }
.tables { display: flex; flex-wrap: wrap; gap: 1.5rem 3rem; margin-bottom: 2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--quiet); padding-bottom: .3rem; }
th, td { padding: .25rem .8rem .25rem 0; text-align: left; border-bottom: 1px solid var(--rule); vertical-align: top; }
table.numbers td { white-space: nowrap; }
tr.counts td, tr.counts th { font-weight: 650; }
figure { margin: 0 0 2.4rem; break-inside: avoid; }
figcaption { color: var(--quiet); font-size: .92rem; max-width: 44rem; }
.plot svg { width: 100%; height: auto; display: block; }
table.facts td { overflow-wrap: anywhere; }
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; }
  .headline { font-size: 20pt; }
  header, table, li { break-inside: avoid; } h2 { break-after: avoid; }
  @page { margin: 18mm; }
}
"""

_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>$style</style>
</head>
<body>
"""

_FOOT = """</main>
</body>
</html>
"""

PAGE = Template(
    _HEAD
    + """<header>
<h1>$title</h1>
<p class="headline">κ = $kappa</p>
<p class="state">$state</p>
<p class="carriers">$carriers</p>
<p class="conclusion">$conclusion</p>
</header>
<main>
<ul class="verdicts">
$verdicts
</ul>
<div class="tables">
<table class="numbers"><caption>Estimates</caption>
$estimates
</table>
$parts
</div>
$plots
<h2>Origin of the data</h2>
<table class="facts">
$facts
</table>
"""
    + _FOOT
)

LEARNING_STYLE = """
.scroll { overflow: auto; max-height: 34rem; margin-bottom: 1rem; }
.scroll table { font-size: .76rem; width: 100%; }
.scroll th, .scroll td { padding-right: .5rem; text-align: right; }
.scroll thead th { vertical-align: bottom; position: sticky; top: 0; background: #fff; line-height: 1.25; }
.note { color: var(--quiet); font-size: .92rem; max-width: 44rem; margin: 0 0 2.4rem; }
details { margin: 0 0 1rem; } summary { cursor: pointer; font-weight: 600; }
details li { overflow-wrap: anywhere; }
@media print { .scroll { overflow: visible; max-height: none; } .scroll table { font-size: 7pt; } }
"""

LEARNING_PAGE = Template(
    _HEAD
    + """<header>
<h1>$title</h1>
<p class="headline">$headline</p>
<p class="state">$state</p>
</header>
<main>
<ul class="verdicts">
$verdicts
</ul>
$table
$plots
$failures
<h2>Settings and cost</h2>
<table class="facts">
$facts
</table>
"""
    + _FOOT
)
