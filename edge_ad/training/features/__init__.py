"""Features on disk: the file of one set, the lock that lets one process compute it, and the room for all of them."""

from edge_ad.training.features.feature_file import FILE_SUFFIX, file_bytes, map_features, write_features
from edge_ad.training.features.lock import exclusive
from edge_ad.training.features.room import byte_limit, forget_unfinished, make_room

__all__ = [
    "FILE_SUFFIX",
    "byte_limit",
    "exclusive",
    "file_bytes",
    "forget_unfinished",
    "make_room",
    "map_features",
    "write_features",
]
