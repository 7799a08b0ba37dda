"""A disk that forgets: what it may hold after a power cut, unsynced changes lost or reordered.

Every name that is made or removed is a change of the folder that holds it, and certain to be on
disk only after a sync of that folder; a rename is two such changes, as on a file system without a
journal. The content of a file is there only if the file was synced. Of the changes that are not
certain any subset may have happened.
"""

import os
from contextlib import contextmanager
from pathlib import Path


class Disk:
    """What happens under a folder, change by change."""

    def __init__(self, root):
        self.root = Path(root)
        self.nodes = {self.root: 0}  # numbers of what stands under each name now
        self.kinds = {0: "folder"}
        self.contents = {}
        self.trace = []
        self.marks = []  # what was true after so many changes

    def mark(self, said):
        self.marks.append((len(self.trace), said))

    def said(self, moment):
        """The last mark before a moment."""
        return [said for at, said in self.marks if at <= moment][-1]

    def born(self, path, kind):
        if path in self.nodes:
            return
        node = len(self.kinds)
        self.kinds[node] = kind
        self.nodes[path] = node
        self.trace.append(("add", self.nodes[path.parent], path.name, node))

    def gone(self, path):
        node = self.nodes.pop(path)
        self.trace.append(("remove", self.nodes[path.parent], path.name, node))

    def moved(self, source, target):
        node = self.nodes.pop(source)
        self.nodes[target] = node
        self.trace.append(("add", self.nodes[target.parent], target.name, node))
        self.trace.append(("remove", self.nodes[source.parent], source.name, node))

    def synced(self, path):
        node = self.nodes[path]
        if self.kinds[node] == "file":
            self.trace.append(("content", node, path.read_bytes()))
        else:
            self.trace.append(("sync", node))

    def holds(self, path):
        return self.root in path.parents or path == self.root

    @contextmanager
    def watched(self, monkeypatch):
        with monkeypatch.context() as patch:
            self._watch(patch)
            yield

    def _watch(self, patch):
        replace, rename, fsync = os.replace, os.rename, os.fsync
        opened, unlink, mkdir, rmdir = Path.open, Path.unlink, Path.mkdir, Path.rmdir

        def moving(real):
            def move(source, target):
                real(source, target)
                if self.holds(Path(target)):
                    self.moved(Path(source), Path(target))

            return move

        def syncing(descriptor):
            fsync(descriptor)
            path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
            if self.holds(path):
                self.synced(path)

        def opening(path, mode="r", *arguments, **options):
            file = opened(path, mode, *arguments, **options)
            if self.holds(path) and set(mode) & set("wxa"):
                self.born(path, "file")
            return file

        def removing(path, missing_ok=False):
            there = path.exists()
            unlink(path, missing_ok=missing_ok)
            if there and self.holds(path):
                self.gone(path)

        def making(path, *arguments, **options):
            new = [at for at in (path, *path.parents) if not at.exists()]
            mkdir(path, *arguments, **options)
            for made in reversed(new):
                if self.holds(made):
                    self.born(made, "folder")

        def emptied(path):
            rmdir(path)
            if self.holds(path):
                self.gone(path)

        patch.setattr(os, "replace", moving(replace))
        patch.setattr(os, "rename", moving(rename))
        patch.setattr(os, "fsync", syncing)
        patch.setattr(Path, "open", opening)
        patch.setattr(Path, "unlink", removing)
        patch.setattr(Path, "mkdir", making)
        patch.setattr(Path, "rmdir", emptied)

    def after_a_cut(self, moment, into, happens):
        """Make what the disk may hold when the power is cut after so many changes.

        Arguments:
            moment: number of changes before.
            into: a folder that does not exist yet.
            happens: whether a change that is not certain has happened.
        """
        past = self.trace[:moment]
        folders = {0: {}}
        contents = {}
        for index, (what, node, *more) in enumerate(past):
            if what == "content":
                contents[node] = more[0]
            elif what != "sync":
                name, thing = more
                if ("sync", node) in past[index:] or happens():
                    names = folders.setdefault(node, {})
                    if what == "add":
                        names[name] = thing
                    elif names.get(name) == thing:
                        del names[name]
        self._lay_out(0, Path(into), folders, contents)

    def _lay_out(self, node, path, folders, contents):
        path.mkdir()
        for name, thing in folders.get(node, {}).items():
            if self.kinds[thing] == "folder":
                self._lay_out(thing, path / name, folders, contents)
            else:
                (path / name).write_bytes(contents.get(thing, b""))
