"""Result files, the folder of results, and cell locks."""

DEFAULT_FOLDER = "results"
TRIAL_FOLDER = "results-smoke"  # for the smoke budget: trials do not mix with published results
BASELINES = "accuracy-baselines"  # next to the tests that check later code against them
