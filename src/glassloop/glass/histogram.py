"""The log-linear histograms of a page: four buckets for each power of two, of the value plus 4."""

from collections.abc import Sequence
from typing import NamedTuple

from glassloop.glass import layout


def bucket_of(value: int) -> int:
    """Return the bucket in which the writer counts a value."""
    value += 4
    power = value.bit_length() - 1
    return (power << 2) + ((value >> (power - 2)) & 3)


def bucket_bounds(bucket: int) -> tuple[int, int]:
    """Return the least value of a bucket and of the next one. The first 8 buckets are never used."""
    power, part = divmod(bucket, 4)
    if power < 2:
        return 0, 0
    width = 1 << (power - 2)
    return (4 + part) * width - 4, (5 + part) * width - 4


class Histogram(NamedTuple):
    """How often which values came. Values are in the page's unit: ticks, or entries of a batch."""

    counts: tuple[int, ...]

    @classmethod
    def empty(cls) -> "Histogram":
        """Return one that counted nothing."""
        return cls((0,) * layout.BUCKETS)

    @property
    def total(self) -> int:
        """How many values were counted."""
        return sum(self.counts)

    def quantile(self, share: float) -> float:
        """Return the value below which this share of the values lies: its bucket's middle; 0 if none."""
        wanted = share * self.total
        seen = 0
        for bucket, count in enumerate(self.counts):
            seen += count
            if count and seen >= wanted:
                low, high = bucket_bounds(bucket)
                return (low + high - 1) / 2
        return 0.0

    def since(self, earlier: "Histogram") -> "Histogram":
        """Return what came after an earlier look at the same histogram."""
        return Histogram(
            tuple(max(0, now - then) for now, then in zip(self.counts, earlier.counts, strict=True))
        )


def split_histograms(values: Sequence[int]) -> dict[str, Histogram]:
    """Return the histograms by name from all their counts, one after the other."""
    return {
        name: Histogram(tuple(values[number * layout.BUCKETS : (number + 1) * layout.BUCKETS]))
        for number, name in enumerate(layout.HISTOGRAMS)
    }
