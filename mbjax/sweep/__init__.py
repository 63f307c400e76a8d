"""Many settings of one or several models: trained one after another, judged by validation, the test split read once.

words -> ``axes`` -> ``plan`` -> ``proposals`` (a grid, or a search) -> ``going`` -> ``summary``, ``chart``.
"""
