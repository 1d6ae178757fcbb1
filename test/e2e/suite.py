# SPDX-License-Identifier: Apache-2.0
"""All end-to-end tests of one run. Importing a module registers its tests, in this order."""

import sys

import e2e
import test_cluster  # noqa: F401
import test_kubesim_agrees  # noqa: F401
import test_ccmanager  # noqa: F401
import test_scale  # noqa: F401

if __name__ == "__main__":
    sys.exit(e2e.main(sys.argv))
