"""Bundles for a fleet of devices: published to an OCI registry, signed, pulled and followed."""

from edge_ad.fleet.publishing import Published, publish
from edge_ad.fleet.pulling import Origin, Pulled, pull, read_origin
from edge_ad.fleet.reference import ArtifactReference
from edge_ad.fleet.signatures import read_private_key, read_public_key

__all__ = [
    "ArtifactReference",
    "Origin",
    "Published",
    "Pulled",
    "publish",
    "pull",
    "read_origin",
    "read_private_key",
    "read_public_key",
]
