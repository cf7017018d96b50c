#!/usr/bin/env python3
"""Holds what the documents name against what is there.

Usage: documents_test.py [SOURCE_DIR]

Every link and its heading, every path in `code`, every ./dev VERB, and the
table of rooms in docs/ARCHITECTURE.md against the quire_room calls.
"""

import pathlib
import re
import sys

SOURCE = pathlib.Path(sys.argv[1] if len(sys.argv) > 1
                      else pathlib.Path(__file__).parents[2]).resolve()
DOCUMENTS = sorted([*SOURCE.glob("*.md"), *SOURCE.glob("docs/**/*.md")])
ARCHITECTURE = SOURCE / "docs" / "ARCHITECTURE.md"

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
TOP = "bench|client|cmake|docker|docs|examples|proto|python|server|src|tests"
PATH = re.compile(rf"(?:{TOP})/[\w./-]*")
VERB = re.compile(r"\./dev ([a-z]+)")
ROOM = re.compile(r"quire_room\((\w+) DIR (\S+)(.*?)\)", re.DOTALL)
ROW = re.compile(r"^\| `([\w/]+)` \| .* \| (.*?) \|$", re.MULTILINE)
# The files along the life of a request: "wire/requests.h   sizes, rank, …".
STATION = re.compile(r"(?<![\w/])([a-z_]+/\w+(?:\.(?:h|cc))?)(?= )")


def headings(document):
    """The anchors of a document, as they are made of its headings."""
    titles = re.findall(r"^#+ +(.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-")
            for title in titles}


def broken_links(document, text):
    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue  # another site: not ours to hold
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        if not target.exists():
            yield f"links to {link}, which is not there"
        elif anchor and anchor not in headings(target):
            yield f"links to {link}, and {target.name} has no such heading"


def broken_paths(text):
    for code in CODE.findall(text):
        if PATH.fullmatch(code) and not (SOURCE / code).exists():
            yield f"names `{code}`, which is not there"


def verbs():
    """The verbs of ./dev: what it has, and what its help tells."""
    dev = (SOURCE / "dev").read_text()
    has = set(re.findall(r"^verb_(\w+)\(\)", dev, re.MULTILINE)) - {"help"}
    tells = set(re.findall(r"^#   ([a-z]+) ", dev, re.MULTILINE))
    return has, tells


def wrong_verbs():
    has, tells = verbs()
    assert {"demo", "test"} <= has, has
    for verb in sorted(has - tells):
        yield f"./dev has the verb '{verb}', which its help does not tell"
    for verb in sorted(tells - has):
        yield f"./dev tells of the verb '{verb}', which it does not have"


def unknown_verbs(text):
    for verb in sorted(set(VERB.findall(text)) - verbs()[0] - {"help"}):
        yield f"names ./dev {verb}, which is no verb of it"


def rooms_built():
    """(directory, rooms used) as CMake holds them, from the ground up."""
    rooms = [("proto", []), ("proto/quire/storage", [])]
    for directory in ("src", "server", "client"):
        text = (SOURCE / directory / "CMakeLists.txt").read_text()
        for _, path, rest in ROOM.findall(re.sub(r"#.*", "", text)):
            uses = re.search(r"\bUSES((?:\s+[a-z]\w*)+)", rest)
            rooms.append((path, sorted(uses[1].split()) if uses else []))
    return rooms


def rooms_told():
    """The same as docs/ARCHITECTURE.md tells it."""
    section = ARCHITECTURE.read_text().split("## The rooms")[1].split("## ")[0]
    return [(room, [] if uses == "–" else sorted(uses.split()))
            for room, uses in ROW.findall(section)]


def wrong_rooms():
    built, told = rooms_built(), rooms_told()
    assert len(built) > 10, built
    for room in built:
        if room not in told:
            yield f"the build holds {room}, its table of rooms does not"
    for room in told:
        if room not in built:
            yield f"its table of rooms has {room}, the build does not"
    if sorted(built) == sorted(told) and built != told:
        yield f"its table of rooms is not in the order of the build, {built}"


def broken_stations():
    text = ARCHITECTURE.read_text()
    life = text.split("## The life of a request")[1].split("```")[1]
    stations = STATION.findall(life)
    assert len(stations) > 5, stations
    for station in stations:
        if not any((root / station).is_file()
                   for root in (SOURCE, SOURCE / "src")):
            yield f"the life of a request passes {station}, which is no file"


def mistakes():
    for document in DOCUMENTS:
        name, text = document.relative_to(SOURCE), document.read_text()
        for find in (lambda text: broken_links(document, text),
                     broken_paths, unknown_verbs):
            yield from (f"{name} {mistake}" for mistake in find(text))
    yield from wrong_verbs()
    for mistake in (*wrong_rooms(), *broken_stations()):
        yield f"docs/ARCHITECTURE.md: {mistake}"


def main():
    assert len(DOCUMENTS) > 5, DOCUMENTS
    found = list(mistakes())
    for mistake in found:
        print(mistake)
    if found:
        raise SystemExit(1)
    print(f"{len(DOCUMENTS)} documents name what is there")


if __name__ == "__main__":
    main()
