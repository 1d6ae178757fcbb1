/* SPDX-License-Identifier: Apache-2.0 */
/* A kubeconfig is taken whole, or refused with its file's name in front. */
#include <assert.h>
#include <string.h>

#include "k8s/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(k8s_config_free) struct k8s_config *c = NULL;
	struct err err = ERR_INIT;

	if (kubeconfig_parse("kc", rd_of(data, size), &c, &err) < 0) {
		assert(err.kind == ERR_INVALID || err.kind == ERR_UNSUPPORTED);
		assert(strstr(err_text(&err), "kc:"));
		assert(!c);
		return 0;
	}
	assert(strncmp(k8s_config_server(c), "http", 4) == 0);
	assert(strcmp(k8s_config_origin(c), "kc") == 0);
	return 0;
}
