"""Training: the step, the loop, checkpoints, the run folder and what is logged in it."""
