"""The judges as the command line names them."""

from __future__ import annotations

from edge_ad.errors import UsageError
from edge_ad.streaming.verdicts.judges import CoolDownRule, Judge
from edge_ad.streaming.verdicts.parts import PartJudge, PartRule

__all__ = ["judges_from_options"]


def judges_from_options(
    *,
    part: str | None = None,
    hysteresis: float | None = None,
    cool_down: str | None = None,
    drift: bool = True,
    has_ids: bool = True,
) -> list[Judge]:
    """``--part``, ``--hysteresis``, ``--cool-down``, ``--drift/--no-drift``.

    Always to be used, with or without options: the ``"ng"`` events that webhook, MQTT and hook act on come from here.

    Args:
        part: ``n/m``, ``n/m:id`` or ``n/gap:0.5s``; None judges every frame by itself. See `PartRule.parse`.
        hysteresis: Lower limit as a share of the threshold, in (0, 1]; None for none.
        cool_down: ``2s``, ``500ms`` or ``30f``; None for none. See `CoolDownRule.parse`.
        drift: Whether to watch the scores of what passed.
        has_ids: Whether the trigger gives ids.

    Raises:
        UsageError: One of them cannot be used, or parts by id are asked for and there are no ids.
    """
    rule = None if part is None else PartRule.parse(part)
    if rule is not None and rule.by_id and not has_ids:
        message = f"--part {part} needs a trigger that gives ids."
        raise UsageError(message, "Add --trigger http:PORT or mqtt://host/topic, or leave out :id.")
    silence = None if cool_down is None else CoolDownRule.parse(cool_down)
    return [PartJudge(rule, hysteresis=1.0 if hysteresis is None else hysteresis, cool_down=silence, watch_drift=drift)]
