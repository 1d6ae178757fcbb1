/* SPDX-License-Identifier: Apache-2.0 */
/* version - what --version prints; the build names both. */
#include "base/opts.h"

#ifndef GPUCC_VERSION
#define GPUCC_VERSION "0.0.0-dev"
#endif
#ifndef GPUCC_COMMIT
#define GPUCC_COMMIT "unknown"
#endif

const char gpucc_version[] = GPUCC_VERSION;
const char gpucc_commit[] = GPUCC_COMMIT;
