"""Texts that fit into the columns of a table, whatever is in them: also letters that are two columns wide."""

from rich.cells import cell_len, set_cell_size

from glassloop.glass.text import duration


def fit(text: str, width: int, *, right: bool = False) -> str:
    """Return the text so many columns wide: filled with spaces, or cut, which an ellipsis shows."""
    length = cell_len(text)
    if length <= width:
        fill = " " * (width - length)
        return fill + text if right else text + fill
    return set_cell_size(text, width - 1) + "…" if width > 0 else ""


def fit_path(text: str, width: int) -> str:
    """Return the text so many columns wide; of a long one the end stays, where a path says most."""
    length = cell_len(text)
    if length <= width:
        return text + " " * (width - length)
    return set_cell_size("…" + text[-max(0, width - 1) :], width) if width > 1 else "…"[:width]


def percent(part: float, none: str = "·") -> str:
    """Return a share of 0 to 1; what is there and rounds to nothing shows all the same."""
    if part <= 0:
        return none
    return "<1%" if part < 0.005 else f"{part:.0%}"


def rate(per_second: float, none: str = "·") -> str:
    """Return a number a second, at most five columns wide."""
    if per_second <= 0:
        return none
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if per_second >= 0.9995 * size:
            return f"{per_second / size:.3g}{unit}"
    return f"{per_second:.3g}" if per_second >= 0.01 else "<.01"


def length(ns: float) -> str:
    """Return a length of time without spaces."""
    return duration(ns).replace(" ", "")


def bar(part: float, width: int) -> str:
    """Return a share as a bar; what is there shows."""
    full = min(width, max(round(part * width), 1 if part > 0 else 0))
    return "█" * full + "░" * (width - full)
