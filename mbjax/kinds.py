"""Names of the two kinds of held-out pairs, as results files and tables spell them (``mbjax/parts.py`` measures them).

An item that the user met by another behavior in training is *visited* where it stands on the one list of all, and
*familiar* on a list of its kind alone; all others are *unvisited* and *new*.
"""

IN_ONE_LIST = ("visited", "unvisited")
AMONG = ("familiar", "new")
