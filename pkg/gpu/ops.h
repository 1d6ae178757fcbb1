/* SPDX-License-Identifier: Apache-2.0 */
/* ops - one operation on one device, whole and blocking: what a job's child runs. */
#pragma once
#include "gpu/jobs.h"

/* Fills `out` (but for op, bdf, took_ms and the error, which the caller does). */
int gpu_op_run(const struct pci_host *h, const struct gpu_job *job, const struct gpu_env *env,
	       struct gpu_result *out, struct err *err) MUST_CHECK;
