"""Buttons that lead to the repository, and to its notebooks on Binder, where `_config.yml` says its address.

Jupyter Book 1 refuses a button where there is no address.
"""

from sphinx.application import Sphinx
from sphinx.config import Config


def setup(app: Sphinx) -> dict:
    app.connect("config-inited", _show)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _show(app: Sphinx, config: Config) -> None:
    options = config.html_theme_options
    if options["repository_url"]:
        options["use_repository_button"] = True
        options["launch_buttons"] = {"binderhub_url": "https://mybinder.org", "notebook_interface": "jupyterlab"}
