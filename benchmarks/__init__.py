"""Speed, measured by hand; nothing here runs in CI."""
