"""What cells leave behind."""

DEFAULT_FOLDER = "results"
TRIAL_FOLDER = "results-smoke"  # of the smoke budget: trials do not mix with what is published
BASELINES = "accuracy-baselines"  # beside the tests that hold later code against them
