#!/usr/bin/env python3
"""The lines of docs/TORCH.md run, one block after the other."""

import os
import pathlib
import re
import tempfile

import support
from support import RemoteTest

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "TORCH.md"


class DocumentTest(RemoteTest):

    def test_its_lines_run(self):
        os.environ["QUIRE_SERVER"] = self.server
        page = PAGE.read_text(encoding="utf-8")
        part = page[:page.index("\n## What equals torch")]
        blocks = re.findall(r"```python\n(.*?)```", part, re.DOTALL)
        names = {}
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)

        for block in blocks:
            exec(block.replace("127.0.0.1:7847", self.server)
                 .replace('"job.pt"', f'"{directory.name}/job.pt"'), names)

        self.assertEqual(len(blocks), 7)
        self.assertEqual(names["extra"], {"epoch": 3})
        self.assertEqual(names["rows"].shape, (3, 2, 64))
        steps = {table.name: table.step for table in self.client.tables()}
        self.assertEqual(steps, {"words": 7, "words.light": 0,
                                 "ranker.users": 0, "ranker.words": 0})


if __name__ == "__main__":
    support.main()
