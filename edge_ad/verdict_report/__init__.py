"""Verdicts on photos: a row for each, and a folder with overlays, heat maps and one page to look through."""

from edge_ad.verdict_report.folder import COLUMNS, VerdictFolder, check_output
from edge_ad.verdict_report.photos import PhotoVerdict, judge_contents, judge_photos, list_photos

__all__ = [
    "COLUMNS",
    "PhotoVerdict",
    "VerdictFolder",
    "check_output",
    "judge_contents",
    "judge_photos",
    "list_photos",
]
