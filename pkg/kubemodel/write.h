/* SPDX-License-Identifier: Apache-2.0 */
/*
 * write - create, update, patch, delete and evict: everything that makes a new version.
 */
#pragma once
#include "internal.h"

void km_write_request(struct kubemodel *m, const struct km_target *t,
		      const struct kubemodel_request *rq, struct kubemodel_answer *a);
