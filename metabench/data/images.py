"""Image files, read into one array."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from metabench.errors import DataError

SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pbm", ".pgm", ".ppm")
)
RESAMPLE = "bilinear"
_OF_16_BITS = ("PNG", "PPM")  # formats whose 16-bit pixels Pillow may read as 32-bit

Pixels = npt.NDArray[np.uint8]


class ImageError(DataError):
    """An error about the image at `path`, which cannot be used."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"image {path} {problem}")
        self.path = path


def read_images(paths: Sequence[Path], size: int | None, invert: bool = False) -> Pixels:
    """Read image files: one channel if all of them are grey, otherwise three.

    Transparent pixels become white, 16-bit greys keep their upper 8 bits, and the
    orientation that a camera recorded is applied.

    Args:
        paths: at least one file.
        size: images are resized to size x size, whatever their proportions; None keeps
            their size, which must then be the same for all.
        invert: make dark bright, for dark ink on light paper.

    Returns:
        [M, C, H, W] uint8.

    Raises:
        DataError: a file is not an image, is damaged, or differs in size from the first.
    """
    mode: Literal["L", "RGB"] = "L"
    for path in paths:
        with _opened(path) as image:
            if not _is_grey(image):
                mode = "RGB"
                break
    images = np.empty(0, dtype=np.uint8)
    for i, path in enumerate(paths):
        with _opened(path) as image:
            pixels = _pixels(image, mode, size)
        if i == 0:
            images = np.empty((len(paths), *pixels.shape), dtype=np.uint8)
        if pixels.shape != images.shape[1:]:
            raise ImageError(
                path,
                f"is {_sides(pixels.shape)} but {paths[0].name} is {_sides(images.shape)}: "
                "make them one size, or give a size to resize all to",
            )
        images[i] = pixels
    if invert:
        np.subtract(255, images, out=images)
    return images


def read_grey(named: Iterable[tuple[str, bytes]], size: int, invert: bool = False) -> Pixels:
    """Decode image files, each as one grey channel.

    Args:
        named: the name, for messages, and the content of each file.
        size: images are resized to size x size.
        invert: make dark bright, for dark ink on light paper.

    Returns:
        [M, 1, size, size] uint8.

    Raises:
        DataError: one is not an image, or is damaged.
    """
    found = []
    for name, content in named:
        with _opened(Path(name), io.BytesIO(content)) as image:
            found.append(_pixels(image, "L", size))
    images = np.stack(found)
    if invert:
        np.subtract(255, images, out=images)
    return images


@contextmanager
def _opened(path: Path, content: io.BytesIO | None = None) -> Iterator[Image.Image]:
    try:
        with Image.open(content or path) as image:
            yield image
    except Exception as error:  # decoders raise errors of many types
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ImageError(path, f"cannot be read ({reason}): replace or remove it") from error


def _is_grey(image: Image.Image) -> bool:
    if image.mode == "P":
        palette = np.array(image.getpalette(), dtype=np.uint8).reshape(-1, 3)
        return bool((palette == palette[:, :1]).all())
    return image.mode in ("1", "L", "LA", "I") or image.mode.startswith("I;16")


def _pixels(image: Image.Image, mode: Literal["L", "RGB"], size: int | None) -> Pixels:
    """Return the [C, H, W] pixels of an open image."""
    if image.mode == "F" or (image.mode == "I" and image.format not in _OF_16_BITS):
        raise ValueError("its pixels have 32 bits, and their range is unknown")
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert(mode)
    if size is not None:
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    return pixels[None] if mode == "L" else pixels.transpose(2, 0, 1)


def _sides(shape: tuple[int, ...]) -> str:
    return f"{shape[-1]}x{shape[-2]}"
