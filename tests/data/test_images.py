"""Image files of any common kind become one uint8 array."""

from __future__ import annotations

import os
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from metabench.data.images import Reading, read_images
from metabench.errors import DataError, UsageError

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
    images = read_images([save(GREY, "a.png"), save(GREY[::-1], "b.bmp")], Reading(None))
    assert images.dtype == np.uint8
    assert np.array_equal(images, np.stack([GREY, GREY[::-1]])[:, None])


def test_colour_images_have_three_channels_and_exact_pixels(save):
    assert np.array_equal(
        read_images([save(COLOUR)], Reading(None)), COLOUR.transpose(2, 0, 1)[None]
    )


@pytest.mark.parametrize("colour_first", [True, False])
def test_one_colour_image_gives_all_three_channels(save, colour_first):
    paths = [save(COLOUR, "c.png"), save(GREY, "g.png")][:: 1 if colour_first else -1]
    images = read_images(paths, Reading(None))
    assert images.shape == (2, 3, 5, 7)
    grey = images[1 if colour_first else 0]
    assert np.array_equal(grey, np.stack([GREY] * 3))


def test_one_bit_images_are_grey_with_full_contrast(save):
    bits = GREY > 100
    assert np.array_equal(read_images([save(bits)], Reading(None))[0, 0], bits * np.uint8(255))


def test_sixteen_bit_greys_keep_their_upper_bits(save):
    deep = GREY.astype(np.uint16) * 256 + 99
    assert np.array_equal(read_images([save(deep)], Reading(None))[0, 0], GREY)


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_32_bits_are_refused(kind, tmp_path):
    file = tmp_path / "deep.tiff"
    Image.fromarray(GREY.astype(kind)).save(file)
    with pytest.raises(DataError, match=r"deep\.tiff cannot be read \(its pixels have 32 bits"):
        read_images([file], Reading(None))


@pytest.mark.parametrize(("pixels", "channels"), [(GREY, 1), (COLOUR, 3)], ids=["grey", "colour"])
def test_palettes_are_grey_if_all_their_colours_are(save, pixels, channels):
    image = Image.fromarray(pixels).quantize(64)
    images = read_images([save(image)], Reading(None))
    assert images.shape == (1, channels, 5, 7)
    expected = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    assert np.array_equal(images[0].transpose(1, 2, 0).squeeze(), expected)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparent_pixels_become_white(save, mode):
    image = Image.fromarray(GREY).convert(mode)
    alpha = np.full_like(GREY, 255)
    alpha[:, :3] = 0
    image.putalpha(Image.fromarray(alpha))
    first = read_images([save(image)], Reading(None))[0, 0]
    assert (first[:, :3] == 255).all()
    assert np.array_equal(first[:, 3:], GREY[:, 3:])


def test_a_palette_with_a_transparent_colour_becomes_white_there(save):
    image = Image.fromarray((GREY > 100).astype(np.uint8)).convert("P")
    image.putpalette([0, 0, 0, 90, 90, 90])
    images = read_images([save(image, transparency=0)], Reading(None))
    assert np.array_equal(images[0, 0], np.where(GREY > 100, 90, 255))


def test_the_orientation_of_a_camera_is_applied(save):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    images = read_images([save(GREY, exif=exif)], Reading(None))
    assert np.array_equal(images[0, 0], np.rot90(GREY, -1))


def test_images_are_resized_to_a_square(save):
    paths = [save(GREY, "a.png"), save(GREY[:3, :3], "b.png")]
    images = read_images(paths, Reading(4))
    assert images.shape == (2, 1, 4, 4)
    expected = Image.fromarray(GREY).resize((4, 4), Image.Resampling.BILINEAR)
    assert np.array_equal(images[0, 0], np.asarray(expected))


def test_inverting_makes_dark_ink_bright(save):
    assert np.array_equal(read_images([save(GREY)], Reading(None, invert=True))[0, 0], 255 - GREY)


def test_the_image_that_differs_in_size_is_named(save):
    paths = [save(GREY, "a.png"), save(GREY, "b.png"), save(GREY[:3], "odd.png")]
    with pytest.raises(DataError, match=r"odd\.png is 7x3 but a\.png is 7x5.*size"):
        read_images(paths, Reading(None))


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
        read_images([save(GREY, "good.png"), path], Reading(8))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_image_that_is_gone_is_named(save, tmp_path):
    with pytest.raises(DataError, match=r"gone\.png"):
        read_images([save(GREY), tmp_path / "gone.png"], Reading(8))


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("bits", [8, 12, 15])
def test_sixteen_bits_that_are_not_all_used_are_refused_or_rescaled(save, suffix, bits):
    values = np.random.default_rng(0).integers(0, 1 << bits, (9, 9)).astype(np.uint16)
    values[0, 0] = (1 << bits) - 1
    path = save(values, f"deep.{suffix}")
    with pytest.raises(DataError, match=rf"1 of 1 .*deep\.{suffix}: give bits={bits} .*bits=16"):
        read_images([path], Reading(None))
    scaled = read_images([path], Reading(None, bits=bits))[0, 0]
    assert np.array_equal(scaled, np.rint(values * (255 / (2**bits - 1))))
    dark = read_images([path], Reading(None, bits=16))[0, 0]
    assert np.abs(dark - values / 257).max() <= 0.5


def test_one_image_that_uses_all_bits_is_enough(save):
    dark = GREY.astype(np.uint16)
    images = read_images([save(dark, "a.png"), save(dark * 256, "b.png")], Reading(None))
    assert (images[0] == 0).all()
    assert np.array_equal(images[1, 0], GREY)


def test_masks_of_0_and_1_are_refused_or_rescaled(save):
    mask = (GREY > 100).astype(np.uint8)
    with pytest.raises(DataError, match=r"1 of 1 .*values up to 1\).*bits=1 .*bits=8"):
        read_images([save(mask)], Reading(None))
    assert np.array_equal(read_images([save(mask)], Reading(None, bits=1))[0, 0], mask * 255)
    assert np.array_equal(read_images([save(mask)], Reading(None, bits=8))[0, 0], mask)


def test_masks_are_rescaled_before_they_are_resized(save):
    mask = np.zeros((4, 4), dtype=np.uint8)
    mask[:2] = mask[3] = 1
    levels = np.unique(read_images([save(mask)], Reading(3, bits=1)))
    assert len(levels) > 2


def test_values_above_the_bits_that_were_given_are_refused(save):
    with pytest.raises(DataError, match=r"a\.png .*values up to 238: give bits=8 or more"):
        read_images([save(GREY)], Reading(None, bits=4))


def test_colours_of_16_bits_have_8_bits_left_and_cannot_be_rescaled(tmp_path):
    raw = np.random.default_rng(0).integers(0, 4096, (6, 7, 3)).astype(">u2")
    file = tmp_path / "deep.png"
    lines = b"".join(b"\0" + row.tobytes() for row in raw)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 7, 6, 16, 2, 0, 0, 0))]
    chunks += [(b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    file.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        )
    )
    with pytest.raises(DataError, match="png: rescale them, or give bits=16 to keep"):
        read_images([file], Reading(None))
    assert np.array_equal(
        read_images([file], Reading(None, bits=16))[0], raw.transpose(2, 0, 1) >> 8
    )
    with pytest.raises(DataError, match="its colours have 16 bits"):
        read_images([file], Reading(None, bits=12))


def test_a_dark_image_among_others_stays_as_dark_as_it_is(save):
    dark = GREY // 20
    images = read_images([save(GREY, "a.png"), save(dark, "b.png")], Reading(None))
    assert np.array_equal(images[1, 0], dark)


@pytest.mark.parametrize(
    ("bright", "dark", "bits"),
    [
        (GREY, GREY > 100, 8),
        (GREY * np.uint16(257), GREY * np.uint16(16), 16),
        (GREY * np.uint16(257), GREY, 16),
    ],
    ids=["masks", "12 of 16 bits", "8 of 16 bits"],
)
def test_one_bright_image_does_not_hide_that_most_are_dark(save, bright, dark, bits):
    paths = [save(bright, "0.png")]
    paths += [save(dark.astype(bright.dtype), f"{i}.png") for i in (1, 2)]
    error = rf"2 of 3 images .*1\.png: rescale them, or give bits={bits} to keep"
    with pytest.raises(DataError, match=error):
        read_images(paths, Reading(None))
    assert len(read_images(paths, Reading(None, bits=bits))) == 3


def test_pale_images_can_be_kept(save):
    pale = save(230 + GREY // 20)
    with pytest.raises(DataError, match=r"range .*: give bits=8 to keep"):
        read_images([pale], Reading(None))
    assert read_images([pale], Reading(None, bits=8)).min() == 230


def test_images_of_8_bits_do_not_hide_that_those_of_16_are_dark(save):
    deep = save(GREY.astype(np.uint16) * 16, "deep.png")
    paths = [save(GREY, "a.png"), save(GREY, "b.png"), deep]
    with pytest.raises(DataError, match=r"1 of 1 .*deep\.png: give bits=12 to .*, or bits=16 to"):
        read_images(paths, Reading(None))
    assert read_images(paths, Reading(None, bits=12))[2].max() > 200


def test_dark_images_in_a_minority_are_a_warning_unless_they_are_few(save, caplog):
    bright = [save(GREY, f"{i}.png") for i in range(60)]
    mask = (GREY > 100).astype(np.uint8)
    dark = [save(mask, f"dark{i}.png") for i in range(5)]
    read_images([*bright, *dark[:3]], Reading(None))
    assert caplog.text == ""
    images = read_images([*bright, *dark], Reading(None))
    assert "5 of 65 images use less than a tenth of the range" in caplog.text
    assert "dark0.png: rescale them, or give bits=8 to keep them as they are" in caplog.text
    assert np.array_equal(images[-1, 0], mask)


def test_images_that_are_all_blank_are_refused(save):
    blank = np.full((5, 7), 255, dtype=np.uint8)
    for bits in (None, 8):
        with pytest.raises(DataError, match="every pixel of every image is 255: replace them"):
            read_images([save(blank)], Reading(None, bits=bits))


def test_blank_images_are_counted_in_a_warning(save, caplog):
    blank = np.full((5, 7), 255, dtype=np.uint8)
    read_images([save(GREY, "a.png"), save(blank, "b.png"), save(blank, "c.png")], Reading(None))
    (record,) = caplog.records
    assert "2 of 3 images are blank, the first is" in record.getMessage()
    assert record.getMessage().endswith("b.png")


@pytest.mark.parametrize(
    ("ink", "background", "other"), [(255, "white", "black"), (0, "black", "white")]
)
@pytest.mark.parametrize("kind", ["LA", "RGBA", "P"])
def test_a_drawing_in_the_colour_of_the_background_is_refused(save, ink, background, other, kind):
    if kind == "P":
        image = Image.fromarray((GREY > 100).astype(np.uint8)).convert("P")
        image.putpalette([90, 90, 90, ink, ink, ink])
        path = save(image, transparency=0)
        shown = (GREY > 100) * 255
    else:
        image = Image.new(kind, (7, 5), (ink,) * (len(kind) - 1) + (255,))
        image.putalpha(Image.fromarray(GREY))
        path, shown = save(image), GREY
    with pytest.raises(DataError, match=f"blank on a {background} .* give background={other}"):
        read_images([path], Reading(None, background=background))
    seen = read_images([path], Reading(None, background=other))[0, 0]
    assert np.array_equal(seen, shown if ink else 255 - shown)


def test_colours_of_print_become_those_of_screens(save):
    image = Image.fromarray(COLOUR).convert("CMYK")
    images = read_images([save(image, "print.tif")], Reading(None))
    assert np.array_equal(images[0].transpose(1, 2, 0), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("name", ["a.tif", "a.gif", "a.webp", "a.png"])
def test_images_of_several_pages_or_frames_are_refused(save, name):
    more = [Image.fromarray(GREY[::-1]), Image.fromarray(GREY[:, ::-1])]
    path = save(GREY, name, save_all=True, append_images=more)
    with pytest.raises(DataError, match=rf"{name} .*3 pages or frames: save each"):
        read_images([path], Reading(None))


def test_a_small_file_with_very_many_pixels_is_refused(save):
    path = save(Image.new("1", (13_000, 13_000)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError, match=r"a\.png .*more than 50 megapixels"):
            read_images([path], Reading(8))


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png .*not a regular file"):
        read_images([tmp_path / "a.png"], Reading(8))


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"bits": 0}, "bits=0: write 1 to 16"),
        ({"bits": 17}, "bits=17"),
        ({"size": 0}, "size=0: write 1 to"),
        ({"size": 10**6}, "size=1000000"),
        ({"background": "whte"}, "unknown background 'whte': did you mean 'white'"),
    ],
)
def test_rules_that_make_no_sense_are_refused(given, error):
    with pytest.raises(UsageError, match=error):
        Reading(**{"size": None} | given)
