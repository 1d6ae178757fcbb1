/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A report that parses covers all of its bytes.  What is found is then signed with a key of our own, so
 * that the readers of the opaque fields behind the signature are reached as well.
 */
#include <assert.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <string.h>

#include "spdm/spdm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static EVP_PKEY *key;

static void sign(uint8_t *report, size_t size)
{
	size_t text = size - SPDM_SIGNATURE_BYTES, n = 128;
	uint8_t der[128];
	const uint8_t *p = der;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	ECDSA_SIG *sig;

	if (!key)
		key = EVP_EC_gen("P-384");
	assert(EVP_DigestSignInit(ctx, NULL, EVP_sha384(), NULL, key) == 1);
	assert(EVP_DigestSign(ctx, der, &n, report, text) == 1);
	sig = d2i_ECDSA_SIG(NULL, &p, (long)n);
	BN_bn2binpad(ECDSA_SIG_get0_r(sig), report + text, SPDM_SIGNATURE_BYTES / 2);
	BN_bn2binpad(ECDSA_SIG_get0_s(sig), report + text + SPDM_SIGNATURE_BYTES / 2,
		     SPDM_SIGNATURE_BYTES / 2);
	ECDSA_SIG_free(sig);
	EVP_MD_CTX_free(ctx);
}

static void read_all(const struct spdm_authentic *a)
{
	size_t bytes = 0;

	for (size_t i = 1; i <= spdm_block_count(a); i++) {
		struct spdm_block b;

		assert(spdm_block_get(a, i, &b));
		bytes += b.value.left;
	}
	assert(bytes < SPDM_REPORT_MAX_BYTES);
	assert(strlen(spdm_fields(a)->driver_version) < SPDM_TEXT_SIZE);
	assert(!strchr(spdm_fields(a)->project, '/'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t copy[SPDM_REPORT_MAX_BYTES];

	for (int device = SPDM_GPU; device <= SPDM_SWITCH; device++) {
		AUTO(spdm_report_free) struct spdm_report *r = NULL, *own = NULL;
		AUTO(spdm_authentic_free) struct spdm_authentic *a = NULL;
		struct err err = ERR_INIT;

		if (spdm_report_parse(rd_of(data, size), &r, &err) < 0) {
			assert(err.kind == ERR_INVALID && err.code != SPDM_OK && !r);
			return 0;
		}
		assert(spdm_report_signed_bytes(r).left + SPDM_SIGNATURE_BYTES == size);
		memcpy(copy, data, size);
		sign(copy, size);
		assert(spdm_report_parse(rd_of(copy, size), &own, &err) == 0);
		if (spdm_authenticate(own, (enum spdm_device)device, key, &a, &err) == 0)
			read_all(a);
		else
			assert(err.kind == ERR_INVALID && !a);
		spdm_authentic_free(TAKE_PTR(a));
		assert(spdm_authenticate(r, (enum spdm_device)device, key, &a, &err) < 0 ||
		       memcmp(copy, data, size) == 0);
	}
	return 0;
}
