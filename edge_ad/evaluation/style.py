"""The style sheet of the HTML report."""

__all__ = ["STYLE"]

STYLE = """
:root{--ink:#1a2028;--muted:#6c7886;--paper:#fff;--line:#dce0e6;--good:#3b82b4;--defective:#d6453d}
@media(prefers-color-scheme:dark){:root{--ink:#e6eaef;--muted:#96a2b0;--paper:#14181d;--line:#2b323b}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:1100px;margin:0 auto;padding:40px 24px 64px}
h1{font-size:30px;margin:0}
h2{font-size:19px;margin:40px 0 12px}
.lead,.note,.legend,summary{color:var(--muted)}
.lead{margin:4px 0 24px}
.note{margin:6px 0;font-size:14px}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(136px,1fr));gap:12px;margin-bottom:20px}
.card{border:1px solid var(--line);border-radius:8px;padding:12px 14px}
.card span,.card small{display:block;color:var(--muted);font-size:13px}
.card b{font-size:25px;font-variant-numeric:tabular-nums}
.legend{margin:0;font-size:14px}
.legend span{display:inline-block;width:12px;height:12px;border-radius:2px;margin:0 6px 0 12px}
.legend .good{background:var(--good);margin-left:0}
.legend .defective{background:var(--defective)}
svg{width:100%;height:auto;display:block}
svg text{fill:var(--muted);font-size:13px}
svg .good{fill:var(--good);fill-opacity:.7}
svg .defective{fill:var(--defective);fill-opacity:.6}
svg .axis{stroke:var(--line)}
svg .threshold{stroke:var(--ink);stroke-width:1.5;stroke-dasharray:5 4}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:7px 12px 7px 0;border-bottom:1px solid var(--line);overflow-wrap:anywhere}
th{font-size:13px;color:var(--muted);font-weight:600}
img{width:100%;height:auto;border:1px solid var(--line);border-radius:8px;display:block}
details{margin-top:32px}
summary{cursor:pointer}
@media print{main{max-width:none;padding:0}details{display:none}}
"""
