#!/usr/bin/env python3
"""The wheel: built without a network, installed where there is no compiler.

Usage: wheel_test.py SERVER LIBRARY
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
import zipfile

SERVER, LIBRARY = sys.argv[1:3]
ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))
import quire_process  # noqa: E402

PROGRAM = """if True:
    import pathlib, sys
    import quire
    from quire import _library
    here = pathlib.Path(quire.__file__).parent
    assert sys.prefix in str(here), here
    assert _library.library._name == str(here / "libquire.so")
    with quire.connect(sys.argv[1]) as client:
        client.create_table("dictionary", 10, 5)
        rows = client.lookup("dictionary", [[2, 3], [1, 0], [8, 6]])
        stored = client.read_rows("dictionary", [[2, 3], [1, 0], [8, 6]])
        assert rows.tobytes() == stored.values.tobytes()
        print(rows.shape)
"""


class TheWheel(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.dir = pathlib.Path(cls.temporary.name)
        cls.run_in(None, ROOT / "python" / "wheel.sh", LIBRARY, cls.dir)
        (cls.wheel,) = cls.dir.glob("*.whl")

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    @staticmethod
    def run_in(environment, *command):
        done = subprocess.run([str(part) for part in command], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              env=environment)
        assert done.returncode == 0, f"{command}:\n{done.stdout}"
        return done.stdout

    def test_it_is_for_every_python_3_of_this_platform(self):
        machine = os.uname().machine
        self.assertRegex(self.wheel.name,
                         rf"^quire-\d+\.\d+\.\d+-py3-none-linux_{machine}\.whl$")
        files = {pathlib.PurePath(name).name if ".dist-info/" in name else name
                 for name in zipfile.ZipFile(self.wheel).namelist()}
        sources = {f"quire/{path.relative_to(ROOT / 'python' / 'quire')}"
                   for path in (ROOT / "python" / "quire").rglob("*")
                   if path.is_file() and "__pycache__" not in path.parts}
        self.assertIn("quire/py.typed", sources)
        self.assertEqual(files, sources | {
            "quire/libquire.so", "METADATA", "WHEEL", "RECORD", "LICENSE",
            "top_level.txt"})

    def test_it_works_in_a_fresh_environment_without_compilers(self):
        place = self.dir / "venv"
        self.run_in(None, "/usr/bin/python3", "-m", "venv",
                    "--system-site-packages", place)
        bare = {"PATH": str(place / "bin"), "HOME": str(self.dir),
                "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        self.run_in(bare, place / "bin" / "pip", "install", "--no-index",
                    self.wheel)

        with quire_process.server(SERVER) as (_, address, _log):
            said = self.run_in(bare, place / "bin" / "python", "-c", PROGRAM,
                               address)

        self.assertEqual(said, "(3, 2, 5)\n")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
