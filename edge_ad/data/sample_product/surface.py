"""The metal of the sample part: chamfers and countersinks as slopes, brushed and turned finish as reflectance."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.data.sample_product.drawing import BOSS_RADIUS, REFERENCE, Hole, Outline, clouds, enlarged, part_grid

__all__ = ["Light", "Pose", "Surface", "belt", "machine", "photograph"]

_REFERENCE = (
    256  # Grain is drawn at this size and enlarged, so that a larger photo shows the same metal, not a finer one.
)
_METAL_BGR = (0.635, 0.620, 0.600)
_CHAMFER = 0.022
_BOSS_STEP = 0.014
_SHADOW_LENGTH = 0.045
_BELT_BGR = (47.0, 45.0, 42.0)


@dataclass
class Surface:
    """The lit surface; defects change it in place.

    Attributes:
        cover: float32 (h, w) in [0, 1], share of the pixel that is metal.
        slope: float32 (h, w, 2), tilt of the surface along x and y; 0 is level.
        reflectance: float32 (h, w, 3) BGR, about 0.6 for clean metal.
    """

    cover: NDArray[np.float32]
    slope: NDArray[np.float32]
    reflectance: NDArray[np.float32]


def machine(outline: Outline, rng: np.random.Generator) -> Surface:
    """Machine a part from its drawing.

    Args:
        outline: The shape.
        rng: Source of the grain: the same state gives the same grain, whatever the shape.
    """
    finish = 1.0 + _finish(outline, rng)
    reflectance = finish[..., None] * np.array(_METAL_BGR, np.float32)
    cover = np.clip(0.5 - outline.distance / np.float32(outline.pixel), 0.0, 1.0)
    return Surface(np.asarray(cover, np.float32), _slopes(outline).copy(), np.asarray(reflectance, np.float32))


def _finish(outline: Outline, rng: np.random.Generator) -> NDArray[np.float32]:
    size_hw = (outline.x.shape[0], outline.x.shape[1])
    radius = np.hypot(outline.x, outline.y)
    brushed = _brushed(size_hw, rng)
    rings = _turned(radius, np.arctan2(outline.y, outline.x), rng)
    on_boss = np.clip(0.5 + (BOSS_RADIUS - radius) / np.float32(outline.pixel), 0.0, 1.0)
    unevenness = 0.035 * clouds(size_hw, (4, 4), rng, octaves=2)
    return np.asarray(unevenness + on_boss * (rings + 0.06) + (1.0 - on_boss) * brushed, np.float32)


def _brushed(size_hw: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    # Two lengths of brush marks: long ones carry the direction, short ones the grain.
    noise = rng.standard_normal((REFERENCE, REFERENCE)).astype(np.float32)
    long = cv2.blur(noise, (91, 1)) * np.float32(np.sqrt(91))
    short = cv2.blur(noise, (15, 1)) * np.float32(np.sqrt(15))
    grain = 0.026 * long + 0.016 * short
    return enlarged(grain, size_hw)


def _turned(radius: NDArray[np.float32], angle: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    # Concentric grooves reflect a lamp as two opposite fans of light.
    grooves = rng.normal(0.0, 0.03, 64) + 0.025 * np.cos(np.arange(64) * np.pi)
    tone = np.interp(radius, np.linspace(0.0, BOSS_RADIUS * 1.05, 64), grooves)
    fans = 0.11 * np.cos(2.0 * angle + 1.6) + 0.03 * np.cos(4.0 * angle + 0.4)
    return np.asarray(tone + fans, np.float32)


@lru_cache(maxsize=2)
def _slopes(outline: Outline) -> NDArray[np.float32]:
    edge_y, edge_x = np.gradient(outline.edge, outline.pixel)
    band = _band(-outline.edge, _CHAMFER, outline.pixel)
    slope = np.stack([edge_x, edge_y], axis=-1) * band[..., None]
    for hole in outline.holes:
        slope -= _countersink(outline, hole)
    radius = np.hypot(outline.x, outline.y)
    rise = np.asarray(radius - np.float32(BOSS_RADIUS - _BOSS_STEP / 2), np.float32)
    step = _band(rise, _BOSS_STEP, outline.pixel) / np.maximum(radius, 1e-3)
    return np.asarray(slope + 0.8 * np.stack([outline.x * step, outline.y * step], axis=-1), np.float32)


def _countersink(outline: Outline, hole: Hole) -> NDArray[np.float32]:
    dx, dy = outline.x - np.float32(hole.x), outline.y - np.float32(hole.y)
    distance = np.hypot(dx, dy)
    ring = _band(distance - hole.radius, hole.countersink, outline.pixel) / np.maximum(distance, 1e-3)
    return np.asarray(np.stack([dx * ring, dy * ring], axis=-1), np.float32)


def _band(depth: NDArray[np.float32], width: float, pixel: float) -> NDArray[np.float32]:
    inner = np.clip(0.5 + depth / np.float32(pixel), 0.0, 1.0)
    return np.asarray(inner * np.clip(0.5 + (width - depth) / np.float32(pixel), 0.0, 1.0), np.float32)


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
        """Draw a lamp within the variation of a line."""
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
