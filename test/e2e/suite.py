# SPDX-License-Identifier: Apache-2.0
"""All end-to-end tests of one run: the harness's own first, then the programs."""

import sys

import e2e
import test_cluster  # noqa: F401  (importing a module registers its tests)

if __name__ == "__main__":
    sys.exit(e2e.main(sys.argv))
