"""What the benchmark page adds to the style sheet of the reports."""

from edge_ad.evaluation.style import STYLE as BASE

__all__ = ["STYLE"]

_COLOURS = {
    "light": ("#2f6fa8", "#d97b29", "#3f9a6b", "#8a63b8", "#2a8f8f", "#8c8f3a", "#5b7083"),
    "dark": ("#6ba7dc", "#eda261", "#6cc49a", "#b596dd", "#5cc4c4", "#c2c56c", "#93a8bb"),
}


def _variables(theme: str) -> str:
    return "".join(f"--s{index}:{colour};" for index, colour in enumerate(_COLOURS[theme], 1))


STYLE = (
    BASE
    + f":root{{{_variables('light')}}}"
    + f"@media(prefers-color-scheme:dark){{:root{{{_variables('dark')}}}}}"
    + "".join(
        f"svg .s{index}{{fill:var(--s{index})}}.legend .s{index}{{background:var(--s{index})}}"
        f"svg .s{index}.hollow{{fill:var(--paper);stroke:var(--s{index});stroke-width:2}}"
        for index in range(1, 8)
    )
    + """
svg text{paint-order:stroke;stroke:var(--paper);stroke-width:3px;stroke-linejoin:round}
svg .bar{fill-opacity:.75}
svg .whisker{stroke:var(--muted);stroke-width:1.5}
svg .median{stroke:var(--ink);stroke-width:2.5}
svg .one{stroke:var(--ink);stroke-width:1.5;stroke-dasharray:5 4}
svg .front{fill:none;stroke:var(--s1);stroke-width:1.8;stroke-opacity:.65;stroke-dasharray:6 4}
svg circle{stroke:var(--paper);stroke-width:1.5}
main{max-width:1280px}
h3{font-size:16px;margin:24px 0 8px}
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(420px,1fr));gap:8px 32px}
.two>div{min-width:0}
.scroll{overflow-x:auto}
.chart svg{min-width:720px}
.facts th{white-space:nowrap;overflow-wrap:normal;width:1%}
.scroll table{font-size:13.5px}
.scroll td{padding-right:14px}
.cards.wide{grid-template-columns:repeat(auto-fill,minmax(260px,1fr))}
.scroll td,.scroll th{white-space:nowrap;overflow-wrap:normal}
td.number,th.number{text-align:right;padding-left:12px}
.bad{color:var(--defective);font-weight:600}
.fine{color:var(--muted)}
.legend span{margin-right:6px}
.legend i{font-style:normal;white-space:nowrap;margin-right:6px}
@media(max-width:520px){.two{grid-template-columns:1fr}}
"""
)
