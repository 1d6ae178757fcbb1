/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A chain in PEM, whose own last certificate is taken for the anchor, so that the rules behind the root
 * are reached; and, where the first byte is 'D', the DICE extension of a leaf.
 */
#include <assert.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <string.h>

#include "pki/internal.h"

#define NOW 1780315200 /* 2026-06-01 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The rest of the text from its last BEGIN on. */
static struct rd last_block(struct rd pem)
{
	static const char begin[] = "-----BEGIN";
	struct rd last = rd_of(pem.p, 0);

	for (struct rd r = pem; r.left >= sizeof(begin) - 1; r = rd_of(r.p + 1, r.left - 1))
		if (memcmp(r.p, begin, sizeof(begin) - 1) == 0)
			last = r;
	return last;
}

static void try_chain(struct rd pem)
{
	AUTO(pki_device_free) struct pki_device *d = NULL;
	CLEANUP(pki_anchor_clear) struct pki_anchor anchor = { .cert = NULL }, nvidia = { .cert = NULL };
	struct err err = ERR_INIT;

	assert(pki_anchor_builtin(PKI_ROOT_DEVICE, &nvidia, &err) == 0);
	if (pki_anchor_load(last_block(pem), &anchor, &err) < 0) {
		assert(!anchor.cert);
		anchor = (struct pki_anchor){ .cert = nvidia.cert };
		X509_up_ref(nvidia.cert);
	}
	err_clear(&err);
	if (pki_device_verify(pem, &anchor, NOW, &d, &err) < 0) {
		assert((err.kind == ERR_INVALID || err.kind == ERR_UNTRUSTED) && err.code != PKI_OK && !d);
		assert(ERR_peek_error() == 0);
		return;
	}
	assert(pki_device_key(d) && d->family < PKI_N_FAMILIES && d->not_after >= NOW);
}

static void try_dice(struct rd ext)
{
	static const char *const oids[] = { "2.23.133.5.4.1", "2.23.133.5.4.1.1" };

	for (enum pki_family family = PKI_GH100; family < PKI_N_FAMILIES; family++) {
		ASN1_OBJECT *oid = OBJ_txt2obj(oids[family == PKI_GB100], 1);
		ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
		X509_EXTENSION *e;
		X509 *leaf = X509_new();
		uint8_t fwid[PKI_FWID_BYTES];
		struct err err = ERR_INIT;
		CLEANUP(pki_anchor_clear) struct pki_anchor issuer = { .cert = NULL };

		assert(pki_anchor_builtin(PKI_ROOT_DEVICE, &issuer, &err) == 0);
		ASN1_OCTET_STRING_set(value, ext.p, (int)ext.left);
		e = X509_EXTENSION_create_by_OBJ(NULL, oid, 0, value);
		X509_add_ext(leaf, e, -1);
		if (pki_fwid_read(leaf, issuer.cert, family, fwid, &err) < 0)
			assert(err.kind == ERR_UNTRUSTED && err.code == PKI_FWID);
		X509_EXTENSION_free(e);
		ASN1_OCTET_STRING_free(value);
		ASN1_OBJECT_free(oid);
		X509_free(leaf);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rd in = rd_of(data, size);
	uint8_t kind;

	if (size > 0 && *data == 'D' && rd_u8(&in, &kind))
		try_dice(in);
	else
		try_chain(in);
	return 0;
}
