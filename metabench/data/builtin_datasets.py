"""The built-in datasets. Each is one file in this folder, which also declares its suites."""

DATASETS = (
    "digits",
    "glyphs",
    "omniglot",
    "mnist",
    "sinusoid",
    "sinusoid_freq",
)
