"""What docs/performance.md says is what was measured."""

from benchmarks.performance import PAGE, soak, with_tables


def test_the_page_says_what_was_measured() -> None:
    page = PAGE.read_text("utf-8")
    assert with_tables(page) == page, "python -m benchmarks.performance writes its tables"


def test_a_soak_is_told_every_ten_thousand_trials_and_at_its_end() -> None:
    lines = [
        {
            "at_s": ended / 100,
            "ended": ended,
            "per_s": 100.0,
            "not_passed": 0,
            "redis_mb": 5.0,
            "workers_mb": [90.0],
        }
        for ended in (5_000, 10_000, 15_000, 21_000, 24_000)
    ]
    drawn = soak(
        {
            "trials": 24_000, "passed": 24_000, "procs": 1, "concurrency": 100, "wall_s": 240.0,
            "trials_per_s": 100.0, "replaced": 0, "errors_logged": 0, "lines": lines,
            "slopes_per_10k": {"worker_mb": 0.1, "redis_mb": 2.5, "trials_per_s": -1.0},
        }
    )  # fmt: skip
    told = [line.split(" | ")[1] for line in drawn.splitlines() if line.startswith("| ")][1:]
    assert told == ["10,000", "21,000", "24,000"]
    assert "+0.10 MB a worker" in drawn
