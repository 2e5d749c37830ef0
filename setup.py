# SPDX-License-Identifier: BSD-2-Clause
"""What pyproject.toml cannot say: the C extension, the program beside it, the tag."""

import runpy
from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext

BUILD = runpy.run_path(str(Path(__file__).with_name("native") / "build.py"))


class BuildBoth(build_ext):
    """Makes lagg._native, and lagg/lagg-forwarder of the same files and flags."""

    def run(self) -> None:
        """The program goes where the extension went."""
        super().run()
        beside = Path(self.get_ext_fullpath("lagg._native")).parent
        objects = self.compiler.compile(
            BUILD["PROGRAM_SOURCES"],
            output_dir=str(Path(self.build_temp, "program")),
            include_dirs=["native", "native/forwarder"],
            macros=[("LAGG_VERSION", f'"{self.distribution.get_version()}"')],
            extra_postargs=[*BUILD["COMPILE"], "-fPIE"],
        )
        self.compiler.link_executable(
            objects,
            BUILD["PROGRAM"],
            output_dir=str(beside),
            extra_postargs=[*BUILD["LINK"], "-pie"],
        )


setup(
    cffi_modules=["native/build.py:ffibuilder"],
    cmdclass={"build_ext": BuildBoth},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
