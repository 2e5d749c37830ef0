# SPDX-License-Identifier: BSD-2-Clause
"""What pyproject.toml cannot say: the C extension and its stable-ABI wheel tag."""

from setuptools import setup

setup(
    cffi_modules=["native/build.py:ffibuilder"],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
