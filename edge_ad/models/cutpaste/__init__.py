"""CutPaste: a backbone trained to tell pasted patches apart, and a Gaussian on what it sees."""

from edge_ad.models.cutpaste.detector import CutPaste, CutPasteParameters

__all__ = ["CutPaste", "CutPasteParameters"]
