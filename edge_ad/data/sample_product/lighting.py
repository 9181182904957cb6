"""Light, pose and belt: from the metal of a part to the photo that a camera above the conveyor takes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.data.sample_product.drawing import part_grid
from edge_ad.data.sample_product.fields import REFERENCE, clouds, enlarged
from edge_ad.data.sample_product.surface import Surface

__all__ = ["Light", "Pose", "belt", "photograph"]

_SHADOW_LENGTH = 0.045
_BELT_BGR = (47.0, 45.0, 42.0)


@dataclass(frozen=True)
class Light:
    """A lamp beside the camera.

    Attributes:
        azimuth: Where it stands, in radians; 0 is right, pi / 2 is below.
        gain: Brightness relative to the mean.
        falloff: Relative loss of brightness per unit length away from the lamp.
        warmth: Relative shift from blue to red.
    """

    azimuth: float
    gain: float
    falloff: float
    warmth: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Light:
        """Draw a lamp within what varies on a line."""
        azimuth = np.deg2rad(-128.0) + rng.normal(0.0, 0.12)
        return cls(
            float(azimuth),
            gain=float(rng.uniform(0.94, 1.06)),
            falloff=float(rng.uniform(0.04, 0.12)),
            warmth=float(rng.normal(0.0, 0.008)),
        )


@dataclass(frozen=True)
class Pose:
    """How the part lies under the camera.

    Attributes:
        angle_deg: Rotation.
        x: Offset, in units of half the image's shorter side.
        y: Offset.
    """

    angle_deg: float
    x: float
    y: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Pose:
        """Draw a pose within the play of the guide rails: some degrees and some pixels."""
        x, y = rng.uniform(-0.022, 0.022, 2)
        return cls(float(rng.uniform(-2.5, 2.5)), float(x), float(y))


def photograph(surface: Surface, background: NDArray[np.float32], light: Light, pose: Pose) -> NDArray[np.float32]:
    """Take the photo, without the sensor's noise.

    Args:
        surface: The part.
        background: float32 (h, w, 3), the empty belt.
        light: The lamp.
        pose: How the part lies.

    Returns:
        float32 (h, w, 3) BGR, in [0, 255].
    """
    size_hw = (background.shape[0], background.shape[1])
    lit = 255.0 * surface.reflectance * _shading(surface, light, pose)[..., None]
    metal = _placed(np.clip(lit, 0.0, 255.0), pose)
    cover = _placed(surface.cover, pose)
    ground = background * (1.0 - 0.62 * _shadow(cover, light))[..., None]
    image = ground + cover[..., None] * (metal - ground)
    return np.asarray(np.clip(image * _illumination(size_hw, light), 0.0, 255.0), np.float32)


def belt(size_hw: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """A dark rubber belt with a woven pattern, stopped anywhere along its length; float32 (h, w, 3)."""
    x, y, _ = part_grid(size_hw)
    x = x + np.float32(rng.uniform(0.0, 1.0))
    pitch = np.float32(2.0 * np.pi / 0.062)
    weave = np.sin(pitch * (x + y)) * np.sin(pitch * (x - y))
    wear = clouds(size_hw, (6, 12), rng, octaves=3)
    dust = _dust(size_hw, rng)
    tone = 1.0 + 0.13 * weave + 0.16 * wear + dust
    return np.asarray(tone[..., None] * np.array(_BELT_BGR, np.float32), np.float32)


def _dust(size_hw: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    specks = np.maximum(rng.standard_normal((REFERENCE, REFERENCE)).astype(np.float32) - 2.6, 0.0)
    return enlarged(np.asarray(cv2.GaussianBlur(specks, (0, 0), 0.6), np.float32), size_hw)


def _shading(surface: Surface, light: Light, pose: Pose) -> NDArray[np.float32]:
    # The surface is still unturned here, so the lamp is turned the other way; OpenCV's angles run against ours.
    azimuth = light.azimuth + np.deg2rad(pose.angle_deg)
    towards = surface.slope @ np.array([np.cos(azimuth), np.sin(azimuth)], np.float32)
    # A slope towards the lamp glints, one away from it only falls back to the diffuse light.
    return np.asarray(1.0 + np.where(towards > 0, 0.62, 0.50) * towards, np.float32)


def _placed(layer: NDArray[np.float32], pose: Pose) -> NDArray[np.float32]:
    height, width = layer.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), pose.angle_deg, 1.0)
    matrix[:, 2] += np.array([pose.x, pose.y]) * min(height, width) / 2
    return np.asarray(cv2.warpAffine(layer, matrix, (width, height), flags=cv2.INTER_LINEAR), np.float32)


def _shadow(cover: NDArray[np.float32], light: Light) -> NDArray[np.float32]:
    height, width = cover.shape
    length = _SHADOW_LENGTH * min(height, width) / 2
    offset = -length * np.array([np.cos(light.azimuth), np.sin(light.azimuth)])
    matrix = np.array([[1.0, 0.0, offset[0]], [0.0, 1.0, offset[1]]])
    moved = cv2.warpAffine(cover, matrix, (width, height), flags=cv2.INTER_LINEAR)
    return np.asarray(cv2.GaussianBlur(moved, (0, 0), 0.55 * length), np.float32)


def _illumination(size_hw: tuple[int, int], light: Light) -> NDArray[np.float32]:
    x, y, _ = part_grid(size_hw)
    along = np.cos(light.azimuth) * x + np.sin(light.azimuth) * y
    vignette = 1.0 - 0.09 * (x * x + y * y)
    brightness = light.gain * vignette * (1.0 + light.falloff * along)
    tint = 1.0 + light.warmth * np.array([-1.0, 0.0, 1.0])
    return np.asarray(brightness[..., None] * tint, np.float32)
