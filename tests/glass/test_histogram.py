"""The histograms' buckets, and what is read off them."""

from hypothesis import given
from hypothesis import strategies as st

from glassloop.glass import layout
from glassloop.glass.histogram import Histogram, bucket_bounds, bucket_of


@given(st.integers(0, 2**64 - 5))
def test_a_value_lies_within_its_bucket(value: int) -> None:
    low, high = bucket_bounds(bucket_of(value))
    assert low <= value < high and high - low <= (low + 4) // 4


def test_buckets_cover_all_values_without_overlap() -> None:
    assert [bucket_of(value) for value in range(4)] == [8, 9, 10, 11] and bucket_bounds(8) == (0, 1)
    for bucket in range(8, layout.BUCKETS - 1):
        assert bucket_bounds(bucket)[1] == bucket_bounds(bucket + 1)[0]
    assert bucket_of(2**64 - 5) == layout.BUCKETS - 1


def histogram(*values: int) -> Histogram:
    counts = [0] * layout.BUCKETS
    for value in values:
        counts[bucket_of(value)] += 1
    return Histogram(tuple(counts))


def test_quantiles() -> None:
    times = histogram(*[1000] * 99, 1_000_000)
    assert times.total == 100
    assert 800 < times.quantile(0.5) < 1300
    assert 800 < times.quantile(0.99) < 1300
    assert 800_000 < times.quantile(0.999) < 1_300_000
    assert Histogram.empty().quantile(0.99) == 0


def test_what_came_since_an_earlier_look() -> None:
    assert histogram(5, 1000, 1000).since(histogram(5, 1000)).counts == histogram(1000).counts
