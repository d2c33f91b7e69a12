"""The small convolutional network that tutorials train on handwritten digits."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from metabench.nets.shapes import channels_innermost, image_shape


def cnn(input_shape: Sequence[int]) -> nn.Sequential:
    """Build two 3x3 convolutions (32 and 64 filters), 2x2 max-pooling and 128 hidden units.

    There is no batch normalisation, so the network can be trained on a handful of images.

    Args:
        input_shape: (C, H, W) of one image, at least 6x6.

    Returns:
        A module mapping [N, C, H, W] to [N, 128].

    Raises:
        UsageError: not an image shape, or images under 6x6.

    References:
        The MNIST example that came with Keras, without its dropout.
    """
    channels, height, width = image_shape("cnn", input_shape, smallest=6)
    pooled = ((height - 4) // 2) * ((width - 4) // 2)  # each convolution takes 2 off a side
    network = nn.Sequential(
        nn.Conv2d(channels, 32, 3),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * pooled, 128),
        nn.ReLU(),
    )
    return channels_innermost(network)
