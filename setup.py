"""What pyproject.toml cannot say: the wheel carries the policies, the sample and Dagster's two
files, which in a checkout lie beside the packages.

`pipelines.settings.PROJECT` finds them: in an installed wheel in `pipelines/shipped/`, laid out as
in the checkout.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
SHIPPED = ("assets_data/policies", "assets_data/sample", "dagster.yaml", "workspace.yaml")


class BuildWithShippedFiles(build_py):
    """Copies them beside the modules; an editable install reads them where they are."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / "pipelines" / "shipped"
        for name in SHIPPED:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            if (HERE / name).is_dir():
                shutil.copytree(HERE / name, target / name, dirs_exist_ok=True)
            else:
                shutil.copy2(HERE / name, target / name)


setup(cmdclass={"build_py": BuildWithShippedFiles})
