"""Programs of others, without which a test says nothing."""
import shutil

import pytest


def need(*programs):
    for program in programs:
        if shutil.which(program) is None:
            pytest.fail(f"no {program}: tools/install-deps build test")
