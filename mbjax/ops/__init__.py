"""Pure array functions: the mathematics that models, sampling and evaluation share."""
