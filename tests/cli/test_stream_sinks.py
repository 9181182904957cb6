"""What the sinks of a stream refuse before anything is opened."""

import pytest

from edge_ad.cli.stream_options import Outputs
from edge_ad.cli.stream_setup import open_sinks
from edge_ad.errors import UsageError


def test_a_limit_of_records_without_a_database_is_refused() -> None:
    with pytest.raises(UsageError, match="no database") as refused:
        open_sinks(Outputs(keep_records_days=3.0))
    assert "--records" in (refused.value.hint or "")
