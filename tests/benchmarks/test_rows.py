from __future__ import annotations

from importlib.metadata import distribution

from benchmarks.rows import BY_NAME, ROWS


def test_the_rows_a_user_asks_about_first_are_twelve() -> None:
    assert len([row for row in ROWS if row.is_default]) == 12


def test_no_two_rows_share_a_name() -> None:
    assert len(BY_NAME) == len(ROWS)


def test_every_figure_has_a_heading() -> None:
    assert all(row.heading(figure) for row in ROWS for figure in row.figures)


def test_every_filter_of_requests_that_comes_with_tulle_is_measured_alone() -> None:
    registered = distribution("tulle").entry_points.select(group="meshfilters.request")
    chains = BY_NAME["built-in"].variants

    assert {"none", *registered.names} == set(chains)
    assert all(name in chains[name]["request"] for name in registered.names)


def test_workers_on_one_core_show_cpu_alone_and_say_why() -> None:
    row = BY_NAME["workers"].on(1)

    assert row.figures == ("cost",)
    assert row.title == "so many workers, on one core (requests/s: from four cores on)"


def test_workers_with_cores_of_their_own_show_requests_too() -> None:
    row = BY_NAME["workers"].on(3)

    assert row.figures == ("cost", "rate")
    assert row.title == "so many workers, on 3 cores"


def test_a_row_of_one_worker_is_the_same_on_every_machine() -> None:
    assert BY_NAME["h1"].on(1) is BY_NAME["h1"].on(3) is BY_NAME["h1"]


def test_a_thousand_endpoints_are_a_thousand_addresses() -> None:
    (text,) = BY_NAME["endpoints"].variants["1000"].values()

    addresses = text.strip("[]").split(", ")
    assert len(set(addresses)) == 1000
    assert all(
        int(part) < 256
        for each in addresses
        for part in each[1:].split(":")[0].split(".")
    )
