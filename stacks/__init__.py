"""One thin stack a file. Each is given what it needs as interfaces, by keyword; none imports another."""
