"""Clean text: quality by source, language, leaks of evaluation sets, near duplicates."""
