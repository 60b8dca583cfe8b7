"""What pyproject.toml can not say: the C extension, one wheel for all Pythons from 3.11 on, the models."""

import sysconfig
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

# Free-threaded Pythons have no limited API: there the wheel is for the one version it was built with.
has_limited_api = not sysconfig.get_config_var("Py_GIL_DISABLED")


class BuildWithModels(build_py):
    """models/ goes into the package as oxidized/models; an editable installation reads the tree's."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / "oxidized" / "models"
        self.mkpath(str(target))
        for path in sorted(Path("models").iterdir()):
            self.copy_file(str(path), str(target / path.name))


setup(
    cmdclass={"build_py": BuildWithModels},
    cffi_modules=["oxidized/ffi/build.py:builder"],
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if has_limited_api else {},
)
