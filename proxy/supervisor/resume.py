"""How a supervisor hands everything it holds to the program that takes its place."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from meshfilters.errors import ConfigError
from proxy import logs
from proxy.config import parse
from proxy.ipc.channel import Channel
from proxy.supervisor import upgrade
from proxy.supervisor.change import Running
from proxy.supervisor.children import Child
from proxy.supervisor.fleet import Fleet
from proxy.supervisor.sockets import CannotListen, Listening, Place

log = logging.getLogger("tulle.supervisor")


def leave(
    running: Running,
    text: str,
    path: Path | None,
    listening: Listening,
    totals: tuple[int, int],
    fleet: Fleet,
) -> NoReturn:
    """Execute the program on the disk, with everything it needs to go on."""
    sockets = [(*place, held.fileno()) for place, held in listening.sockets.items()]
    children = [
        {
            "role": child.role,
            "number": child.number,
            "slot": child.slot,
            "pid": child.pid,
            "state": child.state,
            "due": child.due,
            "channel": child.channel.fileno(),
        }
        for child in fleet.children
    ]
    state = {
        "text": text,
        "old_text": running.text,
        "number": running.number,
        "path": None if path is None else str(path),
        "sockets": sockets,
        "children": children,
        "totals": totals,
        "last_number": fleet.last_number,
        "restarts": fleet.restarts,
    }
    log.info("the code has been checked: taking it into use")
    descriptors = [
        *(each.fileno() for each in listening.sockets.values()),
        *(child.channel.fileno() for child in fleet.children),
        *totals,
    ]
    upgrade.execute(state, descriptors)


def restore_listening(state: Mapping[str, Any]) -> Listening:
    """The sockets that came along."""
    sockets = {}
    for *place, descriptor in state["sockets"]:
        os.set_inheritable(descriptor, False)
        sockets[Place(*place)] = socket.socket(fileno=descriptor)
    return Listening(sockets)


def restore_running(
    state: Mapping[str, Any], listening: Listening, origin: Path
) -> Running:
    """The configuration to run: the one that was checked, else the one before."""
    for number, text in enumerate((state["text"], state["old_text"])):
        try:
            config = parse(text, origin)
            running = Running(text, config, state["number"] + 2 - number)
            listening.open(running.places)
        except (ConfigError, CannotListen) as error:
            log.error("%s", error)
            continue
        logs.configure(config.log, "supervisor", queued=False)
        return running
    raise ConfigError("the code on the disk cannot run the configuration")


def restore_children(state: Mapping[str, Any], now: float) -> list[Child]:
    """The children that live on, each heard of just now."""
    children = []
    for each in state["children"]:
        os.set_inheritable(each["channel"], False)
        child = Child(each["role"], each["number"], each["slot"], now, each["pid"])
        child.state, child.due = each["state"], each["due"]
        child.channel = Channel(socket.socket(fileno=each["channel"]))
        children.append(child)
    return children
