import pytest

from edge_ad.errors import UsageError
from edge_ad.input_size import check_input_size, parse_input_size, side_lengths, size_words
from edge_ad.models.registry import parse_parameters


@pytest.mark.parametrize(
    ("given", "size_hw"),
    [(256, (256, 256)), ("256", (256, 256)), ("160x416", (160, 416)), ([416, 160], (416, 160)), ("64×64", (64, 64))],
)
def test_a_size_is_a_side_or_height_by_width(given: object, size_hw: tuple[int, int]) -> None:
    size = parse_input_size(given)
    assert side_lengths(size) == size_hw
    assert parse_input_size(size_words(size)) == size


@pytest.mark.parametrize("given", ["", "160x", "x", "1x2x3", "-32", 0, True, 2.5, None, "16384x32", "4096x8192"])
def test_what_is_no_size_is_refused(given: object) -> None:
    with pytest.raises(ValueError, match=r"160x416|at most"):
        parse_input_size(given)


def test_a_line_scan_size_fits() -> None:
    assert parse_input_size("512x8192") == (512, 8192)


def test_a_size_that_no_network_takes_is_named_as_it_was_written() -> None:
    with pytest.raises(UsageError, match="160x400") as caught:
        check_input_size((160, 400), 32)
    assert caught.value.hint == "Give --size multiples of 32."


def test_parameters_are_written_as_they_are_read() -> None:
    for size in (256, (160, 416)):
        parameters = parse_parameters("patch-gaussian", {"size": size})
        written = parameters.model_dump_json()
        assert type(parameters).model_validate_json(written) == parameters
        assert parameters.size_hw == side_lengths(size)
    assert '"size":256' in parse_parameters("patch-gaussian", {}).model_dump_json()
