"""What differs between two configurations, and when a file has changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshfilters.timeout import Timeout
from proxy.config import ConfigErrors
from proxy.config.model import Config, Listener, Log, Placed
from proxy.supervisor.change import Running, Watched
from proxy.supervisor.sockets import Place


def running(*listeners: Listener, **more: object) -> Running:
    config = Config({each.name: each for each in listeners}, {}, **more)  # type: ignore[arg-type]  # any field
    return Running("", config, 1)


WEB = Listener("web", ("[::]:80",), "app", backlog=9)


def test_every_address_has_a_place_for_each_slot_and_admin_has_one() -> None:
    found = running(WEB, workers=2, admin="[::]:4191").places

    assert found.keys() == {
        Place("[::]:80", 0),
        Place("[::]:80", 1),
        Place("[::]:4191", 0),
    }
    assert found[Place("[::]:80", 1)] == 9
    assert running(WEB).places_of(3) == {"web": [Place("[::]:80", 3)]}


def test_auto_is_a_worker_for_each_core() -> None:
    assert running(workers="auto").slots >= 1


def test_a_listener_has_changed_when_it_is_new_or_moved() -> None:
    moved = Listener("web", ("[::]:81",), "app")
    other = Listener("other", ("[::]:82",), "app")
    renewed = Listener("web", ("[::]:80",), "another")

    assert running(moved, other).changed_listeners(running(WEB)) == [moved, other]
    assert running(renewed).changed_listeners(running(WEB)) == []


def test_the_agent_differs_by_what_only_it_does() -> None:
    assert not running(WEB).agent_differs(running(grace=1))
    assert running(admin="[::]:1").agent_differs(running())
    assert running(log=Log("debug")).agent_differs(running())


def test_the_packages_are_those_of_the_filters() -> None:
    timeout = Placed("timeout", Timeout())
    web = Listener("web", ("[::]:80",), "app", request=(timeout,))

    assert running(web).packages == {"meshfilters"}


def test_a_file_has_changed_once_it_has_come_to_rest(tmp_path: Path) -> None:
    file = tmp_path / "mesh.yaml"
    file.write_text("1")
    watched = Watched(file)
    assert not watched.has_changed(1)

    file.write_text("12")
    assert not watched.has_changed(1.5)
    assert not watched.has_changed(2)
    file.write_text("123")
    assert not watched.has_changed(3)
    assert watched.has_changed(4)

    assert watched.read() == "123"
    assert not watched.has_changed(5)
    watched.forget()
    assert watched.has_changed(6)


def test_a_file_that_went_cannot_be_read(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "none")

    with pytest.raises(ConfigErrors, match="no such file"):
        watched.read()


def test_without_a_file_nothing_changes() -> None:
    assert not Watched(None).has_changed(100)
