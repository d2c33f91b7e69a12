"""The accuracy and speed regression tests against stored results, and repeated runs."""
