#!/usr/bin/env python3
"""docs/PYTHON.md: every line of Python on it runs, in order."""

import pathlib
import re
from unittest import mock

import python_case
import quire

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "PYTHON.md"


class ThePage(python_case.PythonCase):
    def test_every_line_runs(self):
        blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(),
                            re.MULTILINE | re.DOTALL)
        self.assertGreater(len(blocks), 7)
        names = {}
        with mock.patch.object(quire, "connect",
                               lambda server: self.client):
            for block in blocks:
                exec(compile(block, str(PAGE), "exec"), names)


if __name__ == "__main__":
    python_case.main()
