"""Records of streams: a database of verdicts, events and unjudged frames, and the NG images beside it."""

from edge_ad.streaming.records.ng_images import NgImageStore, ng_image_name
from edge_ad.streaming.records.schema import SCHEMA_VERSION, Durability, event_record, record_of
from edge_ad.streaming.records.store import RecordStore, UnjudgedRow, VerdictRow

__all__ = [
    "SCHEMA_VERSION",
    "Durability",
    "NgImageStore",
    "RecordStore",
    "UnjudgedRow",
    "VerdictRow",
    "event_record",
    "ng_image_name",
    "record_of",
]
