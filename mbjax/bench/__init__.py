"""How long the parts of a run take on this machine.

``python -m mbjax.bench MODEL DATASET``; ``--help`` tells the rest. The scripts in ``benchmarks/`` are made of the same
pieces: ``timing`` (medians of compiled calls), ``rates`` (what the machine can do at best), ``measure`` (training, test
pass and sparse products of an experiment) and ``record`` (the numbers with the machine and the versions, as JSON).
"""
