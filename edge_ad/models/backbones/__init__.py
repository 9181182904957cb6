"""Frozen ImageNet networks as feature pyramids behind one interface."""

from edge_ad.models.backbones.base import Backbone
from edge_ad.models.backbones.registry import BACKBONES, BackboneName, create_backbone

__all__ = ["BACKBONES", "Backbone", "BackboneName", "create_backbone"]
