"""Names of folders: those for good and for defective parts, for training and for testing."""

from __future__ import annotations

import re

from edge_ad.data.masks import is_mask_folder

__all__ = [
    "DEFECT_NAMES",
    "GOOD_NAMES",
    "TEST_NAMES",
    "TRAIN_NAMES",
    "has_a_role",
    "is_good_name",
    "is_not_of_good",
    "sounds_good",
]

GOOD_NAMES = frozenset({"good", "goods", "ok", "okay", "io", "i.o", "i.o.", "gut", "normal", "pass", "passed", "clean"})
GOOD_NAMES |= {"defect_free", "defect-free", "defectfree", "no_defect", "no-defect", "no_defects", "non_defective"}
GOOD_NAMES |= {"non-defective", "nondefective", "good_parts", "good-parts", "ok_parts", "flawless"}
_GOOD_WORDS = frozenset({"good", "goods", "ok", "okay", "io", "gut", "normal", "pass", "passed", "clean", "flawless"})
_NEGATIONS = frozenset({"not", "no", "non", "un", "n"})
DEFECT_NAMES = frozenset({"ng", "ko", "nok", "not_ok", "notok", "not_good", "bad", "faulty"})
DEFECT_NAMES |= {"defect", "defects", "defective", "anomaly", "anomalies", "anomalous", "abnormal"}
DEFECT_NAMES |= {"fail", "failed", "reject", "rejected", "scrap"}
DEFECT_NAMES |= {"nio", "n.i.o", "n.i.o.", "schlecht", "ausschuss", "fehler", "fehlerhaft", "defekt"}
TRAIN_NAMES, TEST_NAMES = frozenset({"train", "training"}), frozenset({"test", "testing", "test_public"})


def is_good_name(name: str) -> bool:
    """Whether a folder of this name holds good parts."""
    return name.lower().strip() in GOOD_NAMES


def sounds_good(name: str) -> bool:
    """Whether a folder of this name may hold good parts: it begins or ends with a word for them."""
    words = [word for word in re.split(r"[^a-z]+", name.lower()) if word]
    return bool(words) and not _NEGATIONS & set(words) and bool({words[0], words[-1]} & _GOOD_WORDS)


def has_a_role(name: str) -> bool:
    """Whether a folder of this name is for good or defective parts, masks, training or testing."""
    return is_not_of_good(name) or is_good_name(name) or name.lower() in TRAIN_NAMES | TEST_NAMES


def is_not_of_good(name: str) -> bool:
    """Whether a folder of this name is for defective parts or masks."""
    return name.lower() in DEFECT_NAMES or is_mask_folder(name)
