"""`glassloop top`: a live terminal screen of what a loop does, from outside and without its help.

source → state → view: ``look`` takes a look at the page every second; ``rates``, ``task_list``,
``distribution``, ``descriptors`` and ``task_history`` make figures of it and know no widgets; ``lines`` makes
text of them; the screens show it. Only screens and widgets (``app``, ``rows``, ``*_screen``) import Textual.
"""
