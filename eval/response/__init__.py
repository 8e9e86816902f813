"""What a score is as a function of the mixture: surfaces, optima, verdicts, laws, the next runs."""
