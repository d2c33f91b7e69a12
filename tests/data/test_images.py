"""Image files of any common kind become one uint8 array."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from metabench.data.images import read_images
from metabench.errors import DataError

GREY = np.arange(35, dtype=np.uint8).reshape(5, 7) * 7
COLOUR = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


@pytest.fixture
def save(tmp_path):
    def save(pixels, name="a.png", mode=None, **options):
        image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
        image = image if mode is None else image.convert(mode)
        image.save(tmp_path / name, **options)
        return tmp_path / name

    return save


def test_grey_images_have_one_channel_and_exact_pixels(save):
    images = read_images([save(GREY, "a.png"), save(GREY[::-1], "b.bmp")], None)
    assert images.dtype == np.uint8
    assert np.array_equal(images, np.stack([GREY, GREY[::-1]])[:, None])


def test_colour_images_have_three_channels_and_exact_pixels(save):
    assert np.array_equal(read_images([save(COLOUR)], None), COLOUR.transpose(2, 0, 1)[None])


@pytest.mark.parametrize("colour_first", [True, False])
def test_one_colour_image_gives_all_three_channels(save, colour_first):
    paths = [save(COLOUR, "c.png"), save(GREY, "g.png")][:: 1 if colour_first else -1]
    images = read_images(paths, None)
    assert images.shape == (2, 3, 5, 7)
    grey = images[1 if colour_first else 0]
    assert np.array_equal(grey, np.stack([GREY] * 3))


def test_one_bit_images_are_grey_with_full_contrast(save):
    bits = GREY > 100
    assert np.array_equal(read_images([save(bits)], None)[0, 0], bits * np.uint8(255))


def test_sixteen_bit_greys_keep_their_upper_bits(save):
    deep = GREY.astype(np.uint16) * 256 + 99
    assert np.array_equal(read_images([save(deep)], None)[0, 0], GREY)


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_32_bits_are_refused(kind, tmp_path):
    file = tmp_path / "deep.tiff"
    Image.fromarray(GREY.astype(kind)).save(file)
    with pytest.raises(DataError, match=r"deep\.tiff cannot be read \(its pixels have 32 bits"):
        read_images([file], None)


@pytest.mark.parametrize(("pixels", "channels"), [(GREY, 1), (COLOUR, 3)], ids=["grey", "colour"])
def test_palettes_are_grey_if_all_their_colours_are(save, pixels, channels):
    image = Image.fromarray(pixels).quantize(64)
    images = read_images([save(image)], None)
    assert images.shape == (1, channels, 5, 7)
    expected = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    assert np.array_equal(images[0].transpose(1, 2, 0).squeeze(), expected)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparent_pixels_become_white(save, mode):
    image = Image.fromarray(GREY).convert(mode)
    alpha = np.full_like(GREY, 255)
    alpha[:, :3] = 0
    image.putalpha(Image.fromarray(alpha))
    first = read_images([save(image)], None)[0, 0]
    assert (first[:, :3] == 255).all()
    assert np.array_equal(first[:, 3:], GREY[:, 3:])


def test_a_palette_with_a_transparent_colour_becomes_white_there(save):
    image = Image.fromarray((GREY > 100).astype(np.uint8)).convert("P")
    image.putpalette([0, 0, 0, 90, 90, 90])
    images = read_images([save(image, transparency=0)], None)
    assert np.array_equal(images[0, 0], np.where(GREY > 100, 90, 255))


def test_the_orientation_of_a_camera_is_applied(save):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    images = read_images([save(GREY, exif=exif)], None)
    assert np.array_equal(images[0, 0], np.rot90(GREY, -1))


def test_images_are_resized_to_a_square(save):
    paths = [save(GREY, "a.png"), save(GREY[:3, :3], "b.png")]
    images = read_images(paths, 4)
    assert images.shape == (2, 1, 4, 4)
    expected = Image.fromarray(GREY).resize((4, 4), Image.Resampling.BILINEAR)
    assert np.array_equal(images[0, 0], np.asarray(expected))


def test_inverting_makes_dark_ink_bright(save):
    assert np.array_equal(read_images([save(GREY)], None, invert=True)[0, 0], 255 - GREY)


def test_the_image_that_differs_in_size_is_named(save):
    paths = [save(GREY, "a.png"), save(GREY, "b.png"), save(GREY[:3], "odd.png")]
    with pytest.raises(DataError, match=r"odd\.png is 7x3 but a\.png is 7x5.*size"):
        read_images(paths, None)


def truncated(data: bytes) -> bytes:
    return data[: len(data) // 2]


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("cut.png", truncated),
        ("cut.jpg", truncated),
        ("empty.png", lambda data: b""),
        ("text.png", lambda data: b"not an image"),
    ],
)
def test_a_broken_image_is_named(save, name, damage):
    path = save(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8), name)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError) as caught:
        read_images([save(GREY, "good.png"), path], 8)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_image_that_is_gone_is_named(save, tmp_path):
    with pytest.raises(DataError, match=r"gone\.png"):
        read_images([save(GREY), tmp_path / "gone.png"], 8)
