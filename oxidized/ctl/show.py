"""`oxidized-ctl show`: blocks of text, or one field for scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from oxidized.ctl import layout
from oxidized.ctl.client import Failure
from oxidized.ctl.repair import repair_text

WHAT = ("peer", "path", "plane", "drops", "stages", "compression", "flows", "repair")
SCHEMA = "oxidized.show/1"

Document = dict[str, Any]


class Selection:
    """What `show [WHAT] [NAME] [FIELD]` picks out of a status document; Failure when it is not there."""

    def __init__(self, status: Document, words: Sequence[str]) -> None:
        self._status = status
        self._what = words[0] if words else ""
        if self._what not in ("", *WHAT):
            raise Failure("usage", f"show {', '.join(WHAT)}; not {layout.safe(self._what)}")
        rest = list(words[1:])
        most = 2 if self._what in ("peer", "path") else 1
        if len(rest) > most:
            raise Failure("usage", f"show {self._what} takes {'NAME and FIELD' if most == 2 else 'one NAME'}")
        self._name = rest[0] if rest else None
        self._field = rest[1] if len(rest) == 2 else None
        self._items = self._pick()

    def _pick(self) -> list[Document]:
        match self._what:
            case "path":
                items = [{"peer": p["name"], **path} for p in self._status["peers"] for path in p["paths"]]
                peer, _, path = (self._name or "").partition("/")
                found = [i for i in items if peer in ("", i["peer"]) and path in ("", i["name"])]
                known_peer = peer in ("", *(p["name"] for p in self._status["peers"]))
                if self._name and not found and (path or not known_peer):
                    raise Failure("absent", f"no path {layout.safe(self._name)}")
                return found
            case "plane":
                return [self._named(self._status["plane"], "counter", hidden=("class_packets", "drops"))]
            case "compression" | "repair":
                return [self._named(self._status[self._what], "value")]
            case "stages":
                found = [s for s in self._status["stages"] if self._name in (None, s["stage"])]
                if not found:
                    known = ", ".join(s["stage"] for s in self._status["stages"])
                    raise Failure("absent", f"no stage {layout.safe(self._name)}; known: {known}")
                return found
            case "drops":
                return [{d: self._named(r, "drop reason") for d, r in self._status["plane"]["drops"].items()}]
            case _:
                found = [p for p in self._status["peers"] if self._name in (None, p["name"])]
                if self._name is not None and not found:
                    raise Failure("absent", f"no peer {layout.safe(self._name)}")
                return found

    def _named(self, values: Mapping[str, Any], noun: str, hidden: Sequence[str] = ()) -> Document:
        """All of `values`, or the one that NAME names."""
        known = {name: value for name, value in values.items() if name not in hidden}
        if self._name is None:
            return known
        if self._name not in known:
            raise Failure("absent", f"no {noun} {layout.safe(self._name)}; known: {', '.join(known)}")
        return {self._name: known[self._name]}

    def _field_of(self, item: Document) -> Any:
        assert self._field is not None
        if self._field not in item:
            field = layout.safe(self._field)
            raise Failure("absent", f"no field {field}; known: {', '.join(item)}")
        return item[self._field]

    def document(self) -> Document:
        """`oxidized.show/1`."""
        if self._what == "":
            interface = {"interface": self._status["interface"]}
            return {"schema": SCHEMA, "time": self._status["time"], **interface, "peers": self._items}
        if self._field is not None:
            values = [self._field_of(item) for item in self._items]
            return {"schema": SCHEMA, "time": self._status["time"], "field": self._field, "values": values}
        if self._what in ("plane", "drops", "compression", "repair"):
            return {"schema": SCHEMA, "time": self._status["time"], self._what: self._items[0]}
        plural = self._what if self._what == "stages" else f"{self._what}s"
        return {"schema": SCHEMA, "time": self._status["time"], plural: self._items}

    def dump(self) -> str:
        if self._field is not None:
            return "".join(layout.dump_line((self._field_of(item),)) for item in self._items)
        match self._what:
            case "path":
                return "".join(map(layout.path_dump, self._items))
            case "plane" | "compression" | "repair":
                return "".join(map(layout.dump_line, self._items[0].items()))
            case "drops":
                return "".join(map(layout.dump_line, layout.drop_rows(self._items[0])))
            case "stages":
                return "".join(layout.dump_line(stage.values()) for stage in self._items)
            case _:
                return "".join(map(layout.peer_dump, self._items))

    def text(self, color: bool) -> str:
        if self._field is not None:
            return self.dump()
        if self._what == "plane":
            only = self._name is not None
            return layout.dump_line(self._items[0].values()) if only else layout.plane_text(self._items[0])
        if self._what == "drops":
            return layout.drops_text(self._items[0])
        if self._what in ("compression", "repair"):
            if self._name is not None:
                return layout.dump_line(self._items[0].values())
            is_repair = self._what == "repair"
            return repair_text(self._status) if is_repair else layout.compression_text(self._items[0])
        if self._what == "stages":
            return layout.stages_text(self._items)
        if self._what == "path":
            return "".join(
                f"{layout.safe(i['peer'])}/{layout.safe(i['name'])}: {layout.path_line(i)}\n"
                for i in self._items
            )
        now = layout.now_seconds(self._status)
        blocks = [layout.peer_block(peer, now, color) for peer in self._items]
        if self._what == "":
            blocks.insert(0, layout.interface_block(self._status))
        return "\n".join(blocks)
