"""Language: lm-eval's tasks on a checkpoint in memory, and bits a byte of any text."""
