"""Questions about pictures and sounds: benchmarks, existence, and what is answered without looking."""
