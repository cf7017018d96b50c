"""What pyproject.toml cannot say: the version is that of the library, and the
wheel is for one platform, but for every Python 3. Run by wheel.sh."""

import ctypes
import pathlib

import setuptools
from wheel.bdist_wheel import bdist_wheel

library = ctypes.CDLL(
    str(pathlib.Path(__file__).parent / "quire" / "libquire.so"))
library.quire_version.restype = ctypes.c_char_p


class Distribution(setuptools.Distribution):
    def has_ext_modules(self):
        return True


class Wheel(bdist_wheel):
    def get_tag(self):
        return "py3", "none", super().get_tag()[2]


setuptools.setup(version=library.quire_version().decode(),
                 distclass=Distribution, cmdclass={"bdist_wheel": Wheel})
