"""What pyproject.toml can not say: the C extension, and one wheel for all Pythons from 3.11 on (abi3)."""

import sysconfig

from setuptools import setup

# Free-threaded Pythons have no limited API: there the wheel is for the one version it was built with.
has_limited_api = not sysconfig.get_config_var("Py_GIL_DISABLED")

setup(
    cffi_modules=["oxidized/ffi/build.py:builder"],
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if has_limited_api else {},
)
