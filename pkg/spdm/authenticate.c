/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The second stage: the signature of the device over request and response.  This is the only place
 * where a struct spdm_authentic is made.
 */
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>
#include <string.h>

#include "spdm/internal.h"

#define SCALAR_BYTES	(SPDM_SIGNATURE_BYTES / 2)
#define SIGNATURE_DER_MAX 112 /* two INTEGERs of 49 bytes in a SEQUENCE: 104 */

/* The order n of secp384r1 (SEC 2, 2.5.1), big-endian. */
static const uint8_t group_order[SCALAR_BYTES] = {
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	0xc7, 0x63, 0x4d, 0x81, 0xf4, 0x37, 0x2d, 0xdf, 0x58, 0x1a, 0x0d, 0xb2,
	0x48, 0xb0, 0xa7, 0x7a, 0xec, 0xec, 0x19, 0x6a, 0xcc, 0xc5, 0x29, 0x73,
};

static int scalar_check(const uint8_t *p, char name, struct err *err)
{
	static const uint8_t zero[SCALAR_BYTES];

	if (memcmp(p, zero, SCALAR_BYTES) == 0)
		return spdm_refuse(err, SPDM_BAD_SIGNATURE, "%c is zero", name);
	if (memcmp(p, group_order, SCALAR_BYTES) >= 0)
		return spdm_refuse(err, SPDM_BAD_SIGNATURE, "%c is not below the group's order", name);
	return 0;
}

static int key_check(const EVP_PKEY *key, struct err *err)
{
	char group[32] = "";
	size_t n;

	if (!key || EVP_PKEY_get_base_id(key) != EVP_PKEY_EC ||
	    !EVP_PKEY_get_group_name(key, group, sizeof(group), &n) || strcmp(group, SN_secp384r1) != 0)
		return spdm_refuse(err, SPDM_BAD_SIGNATURE, "the leaf's key is not on P-384");
	return 0;
}

/* DER INTEGER of a big-endian number that is not zero; returns the bytes written. */
static size_t integer_put(uint8_t *out, const uint8_t *p)
{
	size_t n = SCALAR_BYTES, pad;

	while (*p == 0) {
		p++;
		n--;
	}
	pad = *p >> 7;
	out[0] = V_ASN1_INTEGER;
	out[1] = (uint8_t)(n + pad);
	out[2] = 0;
	memcpy(out + 2 + pad, p, n);
	return 2 + pad + n;
}

static size_t signature_to_der(const uint8_t *rs, uint8_t out[SIGNATURE_DER_MAX])
{
	size_t n = 2;

	n += integer_put(out + n, rs);
	n += integer_put(out + n, rs + SCALAR_BYTES);
	out[0] = V_ASN1_SEQUENCE | V_ASN1_CONSTRUCTED;
	out[1] = (uint8_t)(n - 2); /* at most 102: the short form */
	return n;
}

static int signature_verify(const struct spdm_report *r, EVP_PKEY *key, struct err *err)
{
	struct rd text = spdm_report_signed_bytes(r), rs = spdm_report_signature(r);
	uint8_t der[SIGNATURE_DER_MAX];
	size_t n;
	EVP_MD_CTX *ctx;
	int ok = -1;

	if (key_check(key, err) < 0 || scalar_check(rs.p, 'r', err) < 0 ||
	    scalar_check(rs.p + SCALAR_BYTES, 's', err) < 0)
		return -1;
	ctx = EVP_MD_CTX_new();
	if (!ctx)
		return err_nomem(err);
	n = signature_to_der(rs.p, der);
	if (EVP_DigestVerifyInit(ctx, NULL, EVP_sha384(), NULL, key) == 1)
		ok = EVP_DigestVerify(ctx, der, n, text.p, text.left);
	EVP_MD_CTX_free(ctx);
	ERR_clear_error(); /* a refusal leaves entries in OpenSSL's queue */
	if (ok != 1)
		return spdm_refuse(err, SPDM_BAD_SIGNATURE,
				   "the signature over %zu bytes is not by the leaf's key", text.left);
	return 0;
}

int spdm_authenticate(const struct spdm_report *r, enum spdm_device device, EVP_PKEY *leaf,
		      struct spdm_authentic **out, struct err *err)
{
	AUTO(spdm_authentic_free) struct spdm_authentic *a = NULL;

	if (signature_verify(r, leaf, err) < 0)
		return -1;
	a = calloc(1, sizeof(*a));
	if (!a)
		return err_nomem(err);
	a->report = *r;
	if (spdm_fields_read(&a->report, device, &a->fields, err) < 0)
		return -1;
	*out = TAKE_PTR(a);
	return 0;
}

void spdm_authentic_free(struct spdm_authentic *a)
{
	free(a);
}

size_t spdm_block_count(const struct spdm_authentic *a)
{
	return a->report.n_blocks;
}

bool spdm_block_get(const struct spdm_authentic *a, size_t index, struct spdm_block *out)
{
	const struct block *b;

	if (index < 1 || index > a->report.n_blocks)
		return false;
	b = &a->report.block[index - 1];
	*out = (struct spdm_block){ .type = b->type, .value = span_rd(&a->report, b->value) };
	return true;
}

const struct spdm_fields *spdm_fields(const struct spdm_authentic *a)
{
	return &a->fields;
}
