#!/usr/bin/env python3
"""libquire.so, as users of C have it: its header, its symbols, an install tree
that CMake and pkg-config find, and a program that works with it.

Usage: install_test.py SERVER LIBRARY BUILD_DIR CMAKE NM
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

SERVER, LIBRARY, BUILD, CMAKE, NM = sys.argv[1:6]
HERE = pathlib.Path(__file__).parent
HEADER = HERE.parents[1] / "client" / "client_c.h"
STRICT = ["-Wall", "-Wextra", "-Werror", "-pedantic"]

sys.path.insert(0, str(HERE.parent / "e2e"))
import quire_process


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          **options)
    assert done.returncode == 0, f"{command}:\n{done.stdout}"
    return done.stdout


class TheLibrary(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.dir = pathlib.Path(cls.temporary.name)
        cls.prefix = cls.dir / "prefix"
        run(CMAKE, "--install", BUILD, "--component", "library", "--prefix",
            cls.prefix)

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def check_program(self, program):
        libraries = str(next(self.prefix.rglob("libquire.so")).parent)
        with quire_process.server(SERVER) as (_, address, _log):
            said = run(program, address,
                       env={**os.environ, "LD_LIBRARY_PATH": libraries})
        self.assertEqual(said, "6 rows changed\n3 2.5\n")

    def test_the_header_is_c99_and_cplusplus(self):
        source = f'#include "{HEADER}"\nint main(void) {{ return 0; }}\n'
        for language, standard in (("c", "c99"), ("c", "c17"),
                                   ("c++", "c++11"), ("c++", "c++20")):
            run("c++" if language == "c++" else "cc", f"-std={standard}",
                *STRICT, "-fsyntax-only", "-x", language, "-", input=source)

    def test_it_exports_what_the_header_declares_and_nothing_else(self):
        text = re.sub(r"(//|#).*", "", HEADER.read_text())
        declared = set(re.findall(r"QUIRE_API [^;(]*?(\w+)\(", text))
        symbols = run(NM, "--dynamic", "--defined-only", LIBRARY).splitlines()
        exported = {line.split()[-1] for line in symbols}
        self.assertGreater(len(declared), 50)
        # The version itself is one, by either name, as nm is GNU's or LLVM's.
        self.assertEqual(exported - {"QUIRE_0", "QUIRE_0@@QUIRE_0"},
                         {f"{name}@@QUIRE_0" for name in declared})

    def test_its_name_has_its_version(self):
        (installed,) = self.prefix.rglob("libquire.so.0")
        self.assertIn("[libquire.so.0]",
                      run("readelf", "--dynamic", installed.resolve()))

    def test_cmake_finds_it(self):
        build = self.dir / "consumer"
        run(CMAKE, "-S", HERE / "consumer", "-B", build, "-G", "Ninja",
            f"-DCMAKE_PREFIX_PATH={self.prefix}",
            f"-DCMAKE_C_FLAGS=-std=c99 {' '.join(STRICT)}")
        run(CMAKE, "--build", build)
        self.check_program(build / "lookup")

    def test_pkg_config_finds_it(self):
        (description,) = self.prefix.rglob("quire.pc")
        flags = run("pkg-config", "--cflags", "--libs", "quire", env={
            **os.environ, "PKG_CONFIG_PATH": str(description.parent)}).split()
        program = self.dir / "lookup"
        run("cc", "-std=c99", *STRICT, HERE / "consumer" / "lookup.c", *flags,
            "-o", program)
        self.check_program(program)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[6:])
