"""What any plugin can be held against; importing it imports no torch."""
