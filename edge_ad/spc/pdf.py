"""A page of statistics as a PDF."""

from __future__ import annotations

import logging
import re

from edge_ad.errors import DeviceError, require

__all__ = ["page_to_pdf"]

_VARIABLE = re.compile(r"var\(--([a-z0-9]+)\)")
_ROOT = re.compile(r":root\{([^}]*)\}")


def page_to_pdf(page: str) -> bytes:
    """Lay out a page on A4 sheets in its light colours, by WeasyPrint; nothing is fetched.

    Args:
        page: A complete HTML document that needs nothing beside it.

    Returns:
        Content of a PDF file.

    Raises:
        MissingDependencyError: WeasyPrint is not installed.
        DeviceError: The libraries of the system that it needs are not there.
    """
    try:
        weasyprint = require("weasyprint", extra="pdf")
    except OSError as error:  # Pango is no Python package
        hint = "On Debian and Ubuntu: apt install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0; or write HTML."
        raise DeviceError(f"The PDF library misses a library of the system: {error}.", hint) from error
    logging.getLogger("weasyprint").setLevel(logging.ERROR)  # it warns of CSS for screens
    inside_alone = weasyprint.urls.URLFetcher(allowed_protocols=("data",), fail_on_errors=True)
    document = weasyprint.HTML(string=_without_variables(page), url_fetcher=inside_alone)
    return bytes(document.write_pdf())


def _without_variables(page: str) -> str:
    """The page with colours in place of the variables of its first ``:root``: inside drawings they are not known."""
    root = _ROOT.search(page)
    colours = dict(re.findall(r"--([a-z0-9]+):([^;}]+)", root[1])) if root else {}
    return _VARIABLE.sub(lambda found: colours.get(found[1], found[0]), page)
