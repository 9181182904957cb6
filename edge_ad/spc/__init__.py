"""Statistical process control of recorded verdicts: control charts, run rules, Pareto and places of defects."""

from edge_ad.spc.periods import StatisticsRequest
from edge_ad.spc.shifts import Shift, Span, parse_shift
from edge_ad.spc.statistics import Statistics, statistics_of

__all__ = ["Shift", "Span", "Statistics", "StatisticsRequest", "parse_shift", "statistics_of"]
