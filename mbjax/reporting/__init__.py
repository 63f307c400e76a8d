"""What turns results into something to look at: files, tables, pages, charts, comparisons and figures.

``results``, ``report``, ``selections``: a run's results file, written and read back. ``literature``, ``orders``: what
papers print beside it. ``tables``, ``printout``, ``plots``, ``fonts``: for the terminal, Markdown and PNG. ``pages``,
``summary``, ``components``, ``leaderboard``: tables over many runs. ``compare`` and ``figures`` are programs of their
own.
"""
