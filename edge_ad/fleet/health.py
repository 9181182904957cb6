"""Health of the stream that uses a bundle, by its ``/metrics``: before a new bundle, and while that is tried."""

from __future__ import annotations

import re
from collections.abc import Iterator

from edge_ad.credentials import WEB_TOKEN, credential
from edge_ad.document import Document
from edge_ad.errors import UsageError, require

__all__ = ["Health", "HealthLimits", "health_problem", "parse_health", "read_health"]

_TIMEOUT_S = 5.0
_SAMPLE = re.compile(r"(?P<name>edge_ad_[a-z_]+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)(?: \d+)?")
_ALARMS = {"edge_ad_alarms", "edge_ad_scene_changed"}
_FINDINGS = {"drift", "golden check failed"}
_LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


class Health(Document):
    """What a stream said about itself.

    Attributes:
        bundle: Hash of the bundle of its newest frame; empty before the first.
        fps: Frames per second, of all sources together.
        alarms: Alarms that are not cleared, and sources whose scene has changed.
        findings: Golden checks that have failed, and drifts that were found, since it began.
        frames: Frames judged since it began.
        defective: Those that were defective.
    """

    bundle: str = ""
    fps: float = 0.0
    alarms: int = 0
    findings: int = 0
    frames: int = 0
    defective: int = 0


class HealthLimits(Document):
    """When health has fallen.

    Attributes:
        least_fps_share: Smallest share of the frames per second before, in [0, 1].
        most_defective_share: Largest share of defective frames under the new bundle, in [0, 1]; 1 for no limit.
    """

    least_fps_share: float = 0.8
    most_defective_share: float = 1.0


def read_health(url: str) -> Health | None:
    """Ask a stream; None where it does not answer, or not with the metrics of a stream.

    EDGE_AD_WEB_TOKEN is sent where it is set.

    Raises:
        UsageError: No such URL.
        MissingDependencyError: The extra ``fleet`` is not installed.
    """
    requests = require("requests", extra="fleet")
    token = credential(WEB_TOKEN)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        answer = requests.get(url, headers=headers, timeout=_TIMEOUT_S, allow_redirects=False)
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema):
        raise UsageError(f"{url} is no address of metrics.", "Such as http://127.0.0.1:9464/metrics") from None
    except requests.exceptions.RequestException:
        return None
    return parse_health(answer.text) if answer.status_code == 200 else None


def parse_health(text: str) -> Health | None:
    """The health in an exposition of Prometheus; None where the metrics of a stream are not in it."""
    samples = list(_samples(text))
    if not any(name == "edge_ad_alarms" for name, _, _ in samples):
        return None
    bundles = [labels.get("bundle", "") for name, labels, _ in samples if name == "edge_ad_bundle_info"]
    frames = [(labels, value) for name, labels, value in samples if name == "edge_ad_frames_total"]
    return Health(
        bundle=bundles[0] if bundles else "",
        fps=sum(value for name, _, value in samples if name == "edge_ad_frames_per_second"),
        alarms=int(sum(value for name, _, value in samples if name in _ALARMS)),
        findings=int(sum(value for name, labels, value in samples if _is_finding(name, labels))),
        frames=int(sum(value for _, value in frames)),
        defective=int(sum(value for labels, value in frames if labels.get("verdict") != "OK")),
    )


def health_problem(before: Health, start: Health | None, now: Health | None, limits: HealthLimits) -> str:
    """What is worse than before, in words; empty if nothing is.

    Args:
        before: With the old bundle.
        start: When the new one was seen first; None before that.
        now: With the new bundle; None where the stream does not answer.
        limits: What is too bad.
    """
    if now is None:
        return "the stream does not answer"
    if now.alarms > before.alarms:
        return f"{now.alarms} alarms instead of {before.alarms}"
    if now.findings > before.findings:
        return "a golden check failed, or drift was found"
    if now.fps < limits.least_fps_share * before.fps:
        return f"{now.fps:.3g} frames per second instead of {before.fps:.3g}"
    frames = now.frames - start.frames if start is not None else 0
    defective = now.defective - start.defective if start is not None else 0
    if frames > 0 and defective / frames > limits.most_defective_share:
        return f"{defective} of {frames} frames are defective"
    return ""


def _is_finding(name: str, labels: dict[str, str]) -> bool:
    return name == "edge_ad_events_total" and labels.get("kind") in _FINDINGS


def _samples(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    for line in text.splitlines():
        match = _SAMPLE.fullmatch(line)
        if match is None:
            continue
        try:
            value = float(match["value"])
        except ValueError:
            continue
        if value == value and abs(value) != float("inf"):
            yield match["name"], dict(_LABEL.findall(match["labels"] or "")), value
