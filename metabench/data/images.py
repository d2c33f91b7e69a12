"""Image files, read into one array."""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from metabench.data.contrast import contrast_problem, faint, spread
from metabench.errors import DataError, UsageError, reason, unknown
from metabench.files import open_regular

SUFFIXES = frozenset(
    (
        *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".gif", ".tif"),
        *(".tiff", ".webp", ".avif", ".jp2", ".j2k", ".pbm", ".pgm", ".ppm", ".pnm", ".tga"),
        *(".pcx", ".sgi", ".qoi"),
    )
)
RESAMPLE = "bilinear"
_OF_16_BITS = ("PNG", "PPM")  # formats whose 16-bit pixels Pillow may read as 32-bit
_RULES = 3  # raised when the rules of this file change
_MAX_PIXELS = 50_000_000  # a small file may contain billions
_MAX_SIDE = 4096  # pixels that images are resized to
_INVISIBLE = 16  # levels: a drawing that differs less from its background is not seen

Pixels = npt.NDArray[np.uint8]
Mode = Literal["L", "RGB"]
Background = Literal["white", "black"]
_BACKGROUNDS = get_args(Background)

_log = logging.getLogger(__name__)


class ImageError(DataError):
    """An error about the image at `path`, which cannot be used."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"image {path} {problem}")
        self.path = path


@dataclass(frozen=True)
class Reading:
    """Rules by which image files become pixels.

    Attributes:
        size: images are resized to size x size, whatever their proportions; None keeps
            their size, which must then be the same for all.
        invert: make dark bright, for dark ink on light paper.
        bits: the values of pixels go up to 2 ** bits - 1, as in 12-bit images stored in 16 bits or
            masks of 0 and 1; None: they use all bits of the file, which is checked.
        background: the colour of transparent pixels.
    """

    size: int | None
    invert: bool = False
    bits: int | None = None
    background: Background = "white"

    def __post_init__(self) -> None:
        if self.size is not None and not 1 <= self.size <= _MAX_SIDE:
            raise UsageError(f"size={self.size}: write 1 to {_MAX_SIDE} pixels")
        if self.bits is not None and not 1 <= self.bits <= 16:
            raise UsageError(f"bits={self.bits}: write 1 to 16")
        if self.background not in _BACKGROUNDS:
            raise unknown("background", self.background, _BACKGROUNDS)

    @property
    def facts(self) -> dict[str, str]:
        """The rules as a dataset records them."""
        facts = {
            "resample": "none" if self.size is None else RESAMPLE,
            "invert": "yes" if self.invert else "no",
        }
        if self.bits is not None:
            facts["bits"] = str(self.bits)
        if self.background != "white":
            facts["background"] = self.background
        return facts

    @property
    def key(self) -> dict[str, object]:
        """The rules as part of the key of a cached dataset."""
        return {**asdict(self), "rules": _RULES}


class _Range(NamedTuple):
    """The range of one file's values."""

    low: int  # the darkest pixel, as a learner gets it
    high: int  # the brightest one
    highest: int  # the highest value in the file
    stored: int  # the bits of a value in the file, 8 or 16
    unscaled: bool  # they are colours of 16 bits, of which Pillow reads the upper 8


def read_images(paths: Sequence[Path], reading: Reading) -> Pixels:
    """Read image files: one channel if all of them are grey, otherwise three.

    16-bit greys keep their upper 8 bits, and the orientation that a camera recorded is applied.

    Args:
        paths: at least one file.
        reading: how they become pixels.

    Returns:
        [M, C, H, W] uint8.

    Raises:
        DataError: a file is not an image, is damaged, is too large, has several pages or differs
            in size from the first; or most images have almost no contrast.
    """
    mode: Mode = "L"
    for path in paths:
        with _opened(path) as image:
            if not _is_grey(image):
                mode = "RGB"
                break
    images = np.empty(0, dtype=np.uint8)
    values = []
    for i, path in enumerate(paths):
        with _opened(path) as image:
            pixels, found = _pixels(image, mode, reading)
        if i == 0:
            images = np.empty((len(paths), *pixels.shape), dtype=np.uint8)
        if pixels.shape != images.shape[1:]:
            raise ImageError(
                path,
                f"is {_sides(pixels.shape)} but {paths[0].name} is {_sides(images.shape)}: "
                "make them one size, or give a size to resize all to",
            )
        images[i] = pixels
        values.append(found)
    _check_range(paths, images, values, reading.bits)
    if reading.invert:
        np.subtract(255, images, out=images)
    return images


def _check_range(
    paths: Sequence[Path], images: Pixels, values: Sequence[_Range], bits: int | None
) -> None:
    """Raise a DataError if most images are much darker than their files allow; warn if some are.

    Args:
        paths: the files.
        images: [M, C, H, W] their pixels.
        values: the values of each file.
        bits: as in `Reading`; if they are given, the user has confirmed the range.
    """
    low, high, highest, stored, unscaled = np.array(values, dtype=np.int64).T
    checked = bits is None
    dark = checked & (stored == 16) & (highest > 0) & (highest < 1 << 15)
    blank = (low == high) & ~dark
    for found, among, fault in (
        (dark, (stored == 16) & ~blank, "leave the highest of their 16 bits unused"),
        (checked & faint(low, high) & ~dark, ~blank, "use less than a tenth of the range"),
    ):
        if not found.any():
            continue
        much = spread(found[among], np.array([str(path.parent) for path in paths])[among])
        most, keep = int(highest[found].max()), int(stored.max())
        used = most.bit_length()
        fits = highest < 1 << np.minimum(used, stored)
        if not fits.all() or unscaled.any():
            advice = "rescale them, or give "
        elif used < keep:
            advice = f"give bits={used} to make {(1 << used) - 1:,} white, or "
        else:
            advice = "give "
        problem = (
            f"{found.sum():,} of {among.sum():,} images {fault} (values up to {most:,}), the first "
            f"is {paths[found.argmax()]}: {advice}bits={keep} to keep them as they are"
        )
        if much == "most":
            raise DataError(problem)
        if much:
            _log.warning("%s", problem)
    problem = contrast_problem(images)
    if problem and (checked or images.min() == images.max()):
        raise DataError(f"images like {paths[0]}: {problem}: replace them")
    if blank.any():
        count, first = np.count_nonzero(blank), paths[blank.argmax()]
        _log.warning("%d of %d images are blank, the first is %s", count, len(paths), first)


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
    found, reading = [], Reading(size)
    for name, content in named:
        with _opened(Path(name), io.BytesIO(content)) as image:
            found.append(_pixels(image, "L", reading)[0])
    images = np.stack(found)
    if invert:
        np.subtract(255, images, out=images)
    return images


@contextmanager
def _opened(path: Path, content: io.BytesIO | None = None) -> Iterator[Image.Image]:
    try:
        with content or open_regular(path) as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # checked below
            with Image.open(stream) as image:
                if image.width * image.height > _MAX_PIXELS:
                    raise Image.DecompressionBombError
                yield image
    except Exception as error:  # decoders raise errors of many types
        raise ImageError(
            path, f"cannot be read ({_reason(error)}): replace or remove it"
        ) from error


def _reason(error: Exception) -> str:
    match error:
        case UnidentifiedImageError():
            return "it is not an image in a supported format"
        case Image.DecompressionBombError():
            return f"it has more than {_MAX_PIXELS // 10**6} megapixels"
    return reason(error)


def _is_grey(image: Image.Image) -> bool:
    if image.mode == "P":
        palette = np.array(image.getpalette(), dtype=np.uint8).reshape(-1, 3)
        return bool((palette == palette[:, :1]).all())
    return image.mode in ("1", "L", "LA", "I") or image.mode.startswith("I;16")


def _pixels(image: Image.Image, mode: Mode, reading: Reading) -> tuple[Pixels, _Range]:
    """Return the [C, H, W] pixels of an open image, and the range of its values."""
    if image.mode == "F" or (image.mode == "I" and image.format not in _OF_16_BITS):
        raise ValueError("its pixels have 32 bits, and their range is unknown")
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # a camera's JPEG with a second, smaller image
        raise ValueError(f"it has {frames} pages or frames: save each as a file of its own")
    # Pillow reads colours of 16 bits as 8 bits.
    cut = any(re.search(";16[BLN]", str(tile.args)) for tile in getattr(image, "tile", ()))
    image = ImageOps.exif_transpose(image)
    stored, highest = 8, 0
    if image.mode.startswith("I"):
        deep = np.asarray(image)
        stored, highest, cut = 16, int(deep.max()), False
        image = Image.fromarray(_eight_bits(deep, 16, reading.bits))
    else:
        if cut and reading.bits not in (None, 16):
            raise ValueError("its colours have 16 bits, for which bits cannot be given: convert it")
        image = _opaque(image, reading.background).convert(mode)
        if cut:
            stored, highest = 16, int(np.asarray(image).max()) << 8
        elif reading.bits is not None:
            image = Image.fromarray(_eight_bits(np.asarray(image), 8, reading.bits))
    whole = image = image.convert(mode)
    if reading.size is not None:
        image = image.resize((reading.size, reading.size), Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    low, high = int(pixels.min()), int(pixels.max())
    if stored == 8:  # a dark image may have had a brighter pixel before it was resized
        highest = high if high >= 128 else int(np.asarray(whole).max())
    values = _Range(low, high, highest, stored, cut)
    return (pixels[None] if mode == "L" else pixels.transpose(2, 0, 1)), values


def _eight_bits(values: npt.NDArray[np.integer], stored: int, bits: int | None) -> Pixels:
    """Return values of 8 bits: the upper ones, or values with 2 ** bits - 1 made 255."""
    if bits is None:
        return (values >> (stored - 8)).clip(0, 255).astype(np.uint8)
    white = (1 << min(bits, stored)) - 1
    if values.max() > white:
        most = int(values.max())
        raise ValueError(f"it has values up to {most:,}: give bits={most.bit_length()} or more")
    levels: Pixels = np.rint(values * (255 / white)).astype(np.uint8)
    return levels


def _opaque(image: Image.Image, background: Background) -> Image.Image:
    """Return an image without transparency: transparent pixels get the background."""
    if "A" not in image.getbands() and "transparency" not in image.info:
        return image
    image = image.convert("RGBA")
    opaque = Image.alpha_composite(Image.new("RGBA", image.size, background), image)
    seen = np.ptp(np.asarray(opaque), axis=(0, 1)).max()
    if seen < _INVISIBLE <= np.ptp(np.asarray(image.getchannel("A"))):
        other = "black" if background == "white" else "white"
        raise ValueError(
            f"it is blank on a {background} background, because its drawing has that colour and "
            f"the rest is transparent: give background={other}"
        )
    return opaque


def _sides(shape: tuple[int, ...]) -> str:
    return f"{shape[-1]}x{shape[-2]}"
