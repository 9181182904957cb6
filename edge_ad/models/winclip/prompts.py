"""WinCLIP's compositional prompt ensemble: each state of a part in each template of a photo."""

from __future__ import annotations

__all__ = ["ANOMALOUS_STATES", "NORMAL_STATES", "TEMPLATES", "prompts"]

NORMAL_STATES = (
    "{}",
    "flawless {}",
    "perfect {}",
    "unblemished {}",
    "{} without flaw",
    "{} without defect",
    "{} without damage",
)
ANOMALOUS_STATES = ("damaged {}", "{} with flaw", "{} with defect", "{} with damage")

_PHOTOS = ("cropped photo", "close-up photo", "bright photo", "dark photo", "jpeg corrupted photo", "blurry photo")
_ARTICLES = ("a", "the")
TEMPLATES = (
    *(f"a {photo} of {article} {{}}." for photo in (*_PHOTOS, "photo") for article in _ARTICLES),
    *(f"a photo of {article} {size} {{}}." for size in ("small", "large") for article in _ARTICLES),
    *(
        f"a photo of {article} {{}} for {task}."
        for task in ("visual inspection", "anomaly detection")
        for article in _ARTICLES
    ),
)


def prompts(states: tuple[str, ...], part: str) -> list[str]:
    """Every state in every template.

    Args:
        states: ``NORMAL_STATES`` or ``ANOMALOUS_STATES``.
        part: What the photos show, in words.
    """
    return [template.format(state.format(part)) for state in states for template in TEMPLATES]
