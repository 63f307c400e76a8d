"""Runs side by side: tables of every data set and behavior, charts, and paired tests against the best run.

``python -m mbjax.compare RUN...``; ``--help`` tells the rest.
"""
